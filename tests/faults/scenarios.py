"""How each case is run: up to the call that is to fail, the failure, what the person hears, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from local.browser import Page
from local.engine.microburst import AwsFault, Kind
from tests.faults.harness import LATEST_ANSWER_SECONDS, SLOW_SECONDS, Harness, Person
from tests.faults.matrix import Case

_FLOW = "Key.id.S == 'flow#{flow}'"
_TABLE = "TableName == '{table}'"
_CONNECTION = "Key.id.S == 'connection#{connection}'"


def _sets(attribute: str, value: str | None = None) -> str:
    return f'ExpressionAttributeValues.":{attribute}"' + (f".S == '{value}'" if value else "")


_CALLS = {
    "start": ("dynamodb", "PutItem", "Item.id.S == 'flow#{flow}'"),
    "claim": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_status', 'claimed')}"),
    "release": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_status', 'started')}"),
    "acquire the lease": ("dynamodb", "UpdateItem", f"{_CONNECTION} && {_sets('secret_name')}"),
    "end the lease": ("dynamodb", "UpdateItem", f"{_CONNECTION} && !({_sets('secret_name')})"),
    "settle": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_settled_at')}"),
    "settle as abandoned": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_status', 'abandoned')}"),
    "mark": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_published_at')}"),
    "read the flow": ("dynamodb", "GetItem", _FLOW),
    "look for the flow": ("dynamodb", "GetItem", _FLOW),
    "query the leases": ("dynamodb", "Query", f"{_TABLE} && {_sets('due', 'connection')}"),
    "query what is due": ("dynamodb", "Query", f"{_TABLE} && {_sets('due', 'flow')}"),
    "read the link key": ("secretsmanager", "GetSecretValue", "contains(SecretId, '/{stage}/config/link-key')"),
    "read the client secret": (
        "secretsmanager",
        "GetSecretValue",
        "contains(SecretId, '/{stage}/config/client-credentials')",
    ),
    "create the secret": ("secretsmanager", "CreateSecret", "contains(SecretString, '{flow}')"),
    "put a version": ("secretsmanager", "PutSecretValue", "contains(SecretString, '{flow}')"),
    "restore the secret": ("secretsmanager", "RestoreSecret", "contains(SecretId, '{connection}')"),
    "look into the vault": ("secretsmanager", "DescribeSecret", "contains(SecretId, '{connection}')"),
    "fallback": ("ssm", "PutParameter", "contains(Name, '{flow}')"),
    "look into the fallback": ("ssm", "GetParameter", "contains(Name, '{flow}')"),
    "delete from the fallback": ("ssm", "DeleteParameter", "contains(Name, '{flow}')"),
    "dead-letter": ("sqs", "SendMessage", "contains(MessageBody, '{flow}')"),
    "publish": ("events", "PutEvents", "Entries[?contains(Detail, '{flow}')]"),
}
"""Each call: service, operation, and what of the request tells it from others (JMESPath)."""


def fault(call: str, kind: Kind, person: Person, times: int | None = None) -> AwsFault:
    """Return a fault of one call for one person's flow."""
    service, operation, match = _CALLS[call]
    return AwsFault(
        kind,
        service,
        operation,
        match=match.format(
            flow=person.flow_id,
            connection=person.connection_id,
            stage=person.harness.name,
            table=person.stack.outputs["TableName"],
        ),
        times=times,
        seconds=SLOW_SECONDS,
    )


def away(call: str, person: Person) -> AwsFault:
    """Return a fault that lasts: this call always fails, at once."""
    return fault(call, Kind.DENIED, person)


@dataclass(frozen=True, slots=True)
class Result:
    """What a person's flow came to.

    `answer` and `row` at once; `then` is what the same address says after the fault. `exchanges`, `tokens` (in the
    vault) and `events` (each counted once, however often it came) are counted at the end.
    """

    answer: str
    row: str
    then: str
    exchanges: int
    tokens: int
    events: tuple[str, ...]


SAVED = Result("connected", "connected", "connected", 1, 1, ("connected",))
_AGAIN = replace(SAVED, answer="try again", row="open")
_OVER = Result("try again", "claimed", "orphaned", 1, 1, ("orphaned", "connected"))
EXPECTED: dict[str, dict[str, Result]] = {
    "connect": {"saved": replace(SAVED, answer="on to Finch", row="open"), "again": _AGAIN},
    "callback": {
        "saved": SAVED,
        "again": _AGAIN,
        "later": replace(SAVED, row="unstored"),
        "finished": replace(SAVED, answer="try again", row="claimed"),
        "late answer": replace(SAVED, answer="try again"),
        "over": _OVER,
        "unclear": replace(_OVER, exchanges=2),
        "lost": replace(_OVER, answer="orphaned", row="orphaned token_lost", exchanges=2),
    },
    "relay": {
        "saved": replace(SAVED, row="published"),
        "retried": replace(SAVED, row="named as failed"),
        "swept": replace(SAVED, row="not at rest"),
    },
    "sweeper": {"saved": replace(SAVED, row="moved on"), "next sweep": replace(SAVED, row="as it was")},
}
"""Each outcome of the table, in what can be counted."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story. `alone`: it kills functions, so nothing else may be run on its stage meanwhile."""

    name: str
    run: Callable[[Harness], Result]
    expected: Result
    alone: bool = False
    needs_people = True
    session = False


def run(case: Case, harness: Harness) -> Result:
    """Play a case to its end."""
    scenarios = {"connect": _opened, "callback": _called_back, "relay": _carried, "sweeper": _swept}
    return scenarios[case.row.function](case, harness)


def expected(case: Case) -> Result:
    """Return what must come of a case."""
    result = EXPECTED[case.row.function][case.outcome]
    if case.row.call == "dead-letter":  # nobody's: a record that is no row
        return replace(result, answer="", then="dead-letter", exchanges=0, tokens=0, events=())
    if case.row.call == "settle as abandoned":  # the person had left, and comes again
        return replace(result, answer="on to Finch", then="abandoned", events=("abandoned", "connected"))
    return result


@contextmanager
def meeting(case: Case, person: Person, harness: Harness) -> Iterator[None]:
    """Have the case's fault on, and see that it was met."""
    broken = fault(case.row.call, case.kind, person, case.times)
    with harness.proxy.breaking(broken) as rules:
        yield
        assert harness.proxy.broken(rules), "the call that was to fail was not made"


def timely(answered: Callable[[], Page]) -> Page:
    """Return an answer that came in time."""
    began = time.monotonic()
    page = answered()
    assert time.monotonic() - began < LATEST_ANSWER_SECONDS, "a person waits no longer"
    return page


def _opened(case: Case, harness: Harness) -> Result:
    """A person opens the link."""
    person = harness.person()
    if case.row.alone:
        harness.kill("ConnectFunction")  # a cold one reads the key
    with meeting(case, person, harness):
        page = timely(person.open_link)
    said, row = person.answer_in(page), standing(person)
    if said != "on to Finch":
        page = person.open_link()
    assert page.location is not None, page.text
    return ended(person, said, row, person.approve(page.location))


def _called_back(case: Case, harness: Harness) -> Result:
    """Finch sends a person back."""
    person = harness.person()
    if case.row.call in {"put a version", "restore the secret"}:
        before = harness.person(username=person.username, customer_id=person.customer_id)
        before.connect()
        before.comes_to_rest()
        if case.row.call == "restore the secret":
            harness.stack.client("secretsmanager").delete_secret(SecretId=person.secret_name, RecoveryWindowInDays=7)
    callback = person.approved()
    if case.row.call == "look for the flow":  # nobody has verified that Finch echoes the state
        callback = callback.partition("&state=")[0]
    also = {
        "release": [away("read the client secret", person)],
        "fallback": [away("create the secret", person)],
    }
    if case.row.alone:
        harness.kill("CallbackFunction")  # a cold one reads the secrets
    with harness.proxy.breaking(*also.get(case.row.call, [])), meeting(case, person, harness):
        page = timely(lambda: person.come_back(callback))
        row = standing(person)
    return ended(person, person.answer_in(page), row, callback)


def _carried(case: Case, harness: Harness) -> Result:
    """The stream brings the relay a record; the answer says what it is to bring again."""
    person = harness.person()
    if case.row.call == "dead-letter":
        return _dead_letter(case, person, harness)
    callback = person.approved()
    said = person.answer_in(timely(lambda: person.come_back(callback)))
    with meeting(case, person, harness):
        failed = harness.bring(person.item())
        row = "named as failed" if failed else "published" if person.is_at_rest() else "not at rest"
    if failed:
        assert harness.bring(person.item()) == []
        assert person.is_at_rest(), "the second time nothing is left to the sweeper"
    return ended(person, said, row, callback)


def _dead_letter(case: Case, person: Person, harness: Harness) -> Result:
    """The stream brings something that is no row of ours."""
    poison = {"id": {"S": f"flow#{person.flow_id}"}, "status": {"S": "connected"}}
    with meeting(case, person, harness):
        row = "named as failed" if harness.bring(poison) else "published"
    if row == "named as failed":
        assert harness.bring(poison) == []
    return Result(
        "", row, "dead-letter" if person.flow_id in harness.dead_letters() else "gone", 0, 0, harness.published(person)
    )


def _swept(case: Case, harness: Harness) -> Result:
    """Something is overdue when the sweeper comes."""
    person = harness.person()
    if case.row.call == "settle as abandoned":
        return _swept_away(case, person, harness)
    callback = person.approved()
    broken_before, moved_on = _OVERDUE[case.row.call]
    with harness.sweeping:
        with harness.proxy.breaking(*[away(call, person) for call in broken_before]):
            person.come_back(callback)
        with meeting(case, person, harness):
            person.time_passes()
            row = "moved on" if moved_on(person) else "as it was"
        person.time_passes()
        assert moved_on(person)
    return ended(person, "connected", row, callback)


def _moved_on(person: Person) -> bool:
    return person.known_row().status not in {"claimed", "unstored"}


_AWAY = (["create the secret"], _moved_on)
_INTERRUPTED = (["settle"], _moved_on)
_UNPUBLISHED: tuple[list[str], Callable[[Person], bool]] = (
    [],
    lambda person: person.known_row().published_at is not None,
)
_OVERDUE: dict[str, tuple[list[str], Callable[[Person], bool]]] = {
    "query the leases": _INTERRUPTED,
    "query what is due": _AWAY,
    "look into the fallback": _AWAY,
    "acquire the lease": _AWAY,
    "create the secret": _AWAY,
    "delete from the fallback": _AWAY,
    "settle": _AWAY,
    "read the flow": _INTERRUPTED,
    "look into the vault": _INTERRUPTED,
    "end the lease": (["settle"], lambda person: _moved_on(person) and person.lease() is None),
    "publish": _UNPUBLISHED,
    "mark": _UNPUBLISHED,
}
"""Which calls of the callback fail first, so that the sweeper makes this call; and what shows that it moved it on."""


def _swept_away(case: Case, person: Person, harness: Harness) -> Result:
    """A person who never came back."""
    said = person.answer_in(person.open_link())
    with harness.sweeping, meeting(case, person, harness):
        person.time_passes()
        row = "moved on" if person.known_row().status == "abandoned" else "as it was"
    person.comes_to_rest()
    then = person.status()
    page = person.open_link()
    assert page.location is not None, page.text
    return replace(ended(person, said, row, person.approve(page.location)), then=then)


def standing(person: Person) -> str:
    """Return where the row stands: `open` when nothing was spent."""
    row = person.row()
    if row is None or row.status == "started":
        return "open"
    return f"{row.status} {row.reason}" if row.reason else str(row.status)


def ended(person: Person, said: str, row: str, callback: str) -> Result:
    """Go on as the person and the minutes would, to the end; count."""
    then = person.answer_in(timely(lambda: person.come_back(callback)))
    while then == "in progress":
        person.time_passes()
        then = person.answer_in(person.come_back(callback))
    person.comes_to_rest()
    if person.known_row().status in {"orphaned", "failed"}:  # the link starts anew
        page = person.open_link()
        assert page.location is not None, page.text
        assert person.answer_in(person.come_back(person.approve(page.location))) == "connected"
        person.comes_to_rest()
    return Result(said, row, then, person.exchanges, len(person.tokens()), person.harness.published(person))
