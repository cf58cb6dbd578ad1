"""How each cell is played: up to the call that is to fail, the failure, what the person hears, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from local.browser import Page
from local.engine.microburst import AwsFault, Kind
from tests.faults.harness import LATEST_ANSWER_SECONDS, SLOW_SECONDS, Person, Stage
from tests.faults.matrix import Cell

_FLOW = "Key.id.S == 'flow#{flow}'"
_TABLE = "TableName == '{table}'"
_CONNECTION = "Key.id.S == 'connection#{connection}'"


def _sets(attribute: str, value: str | None = None) -> str:
    return f'ExpressionAttributeValues.":{attribute}"' + (f".S == '{value}'" if value else "")


_CALLS = {
    "start": ("dynamodb", "PutItem", "Item.id.S == 'flow#{flow}'"),
    "claim": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_status', 'claimed')}"),
    "release": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_status', 'started')}"),
    "own": ("dynamodb", "UpdateItem", f"{_CONNECTION} && {_sets('secret_name')}"),
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
    "put aside": ("sqs", "SendMessage", "contains(MessageBody, '{flow}')"),
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
            stage=person.stage.name,
            table=person.stack.outputs["TableName"],
        ),
        times=times,
        seconds=SLOW_SECONDS,
    )


def away(call: str, person: Person) -> AwsFault:
    """Return a fault that lasts: this call always fails, at once."""
    return fault(call, Kind.DENIED, person)


@dataclass(frozen=True, slots=True)
class Story:
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


SAVED = Story("connected", "connected", "connected", 1, 1, ("connected",))
_AGAIN = replace(SAVED, answer="try again", row="open")
_OVER = Story("try again", "claimed", "orphaned", 1, 1, ("orphaned", "connected"))
EXPECTED: dict[str, dict[str, Story]] = {
    "connect": {"saved": replace(SAVED, answer="on to Finch", row="open"), "again": _AGAIN},
    "callback": {
        "saved": SAVED,
        "again": _AGAIN,
        "later": replace(SAVED, row="unstored"),
        "finished": replace(SAVED, answer="try again", row="claimed"),
        "told late": replace(SAVED, answer="try again"),
        "over": _OVER,
        "unclear": replace(_OVER, exchanges=2),
        "lost": replace(_OVER, answer="orphaned", row="orphaned token_lost", exchanges=2),
    },
    "relay": {
        "saved": replace(SAVED, row="told"),
        "retried": replace(SAVED, row="named as failed"),
        "swept": replace(SAVED, row="not at rest"),
    },
    "sweeper": {"saved": replace(SAVED, row="moved on"), "next sweep": replace(SAVED, row="as it was")},
}
"""Each outcome of the table, in what can be counted."""


def play(cell: Cell, stage: Stage) -> Story:
    """Play a cell to its end."""
    plays = {"connect": _opened, "callback": _called_back, "relay": _carried, "sweeper": _swept}
    return plays[cell.row.function](cell, stage)


def expected(cell: Cell) -> Story:
    """Return what must come of a cell."""
    story = EXPECTED[cell.row.function][cell.outcome]
    if cell.row.call == "put aside":  # nobody's: a record that is no row
        return replace(story, answer="", then="put aside", exchanges=0, tokens=0, events=())
    if cell.row.call == "settle as abandoned":  # the person had left, and comes again
        return replace(story, answer="on to Finch", then="abandoned", events=("abandoned", "connected"))
    return story


@contextmanager
def meeting(cell: Cell, person: Person, stage: Stage) -> Iterator[None]:
    """Have the cell's fault on, and see that it was met."""
    broken = fault(cell.row.call, cell.kind, person, cell.times)
    with stage.proxy.breaking(broken) as rules:
        yield
        assert stage.proxy.broken(rules), "the call that was to fail was not made"


def timely(answered: Callable[[], Page]) -> Page:
    """Return an answer that came in time."""
    began = time.monotonic()
    page = answered()
    assert time.monotonic() - began < LATEST_ANSWER_SECONDS, "a person waits no longer"
    return page


def _opened(cell: Cell, stage: Stage) -> Story:
    """A person opens the link."""
    person = stage.person()
    if cell.row.alone:
        stage.kill("ConnectFunction")  # a cold one reads the key
    with meeting(cell, person, stage):
        page = timely(person.open_link)
    said, row = person.told(page), standing(person)
    if said != "on to Finch":
        page = person.open_link()
    assert page.location is not None, page.text
    return ended(person, said, row, person.approve(page.location))


def _called_back(cell: Cell, stage: Stage) -> Story:
    """Finch sends a person back."""
    person = stage.person()
    if cell.row.call in {"put a version", "restore the secret"}:
        before = stage.person(username=person.username, customer_id=person.customer_id)
        before.connect()
        before.comes_to_rest()
        if cell.row.call == "restore the secret":
            stage.stack.client("secretsmanager").delete_secret(SecretId=person.secret_name, RecoveryWindowInDays=7)
    callback = person.approved()
    if cell.row.call == "look for the flow":  # nobody has verified that Finch echoes the state
        callback = callback.partition("&state=")[0]
    also = {
        "release": [away("read the client secret", person)],
        "fallback": [away("create the secret", person)],
    }
    if cell.row.alone:
        stage.kill("CallbackFunction")  # a cold one reads the secrets
    with stage.proxy.breaking(*also.get(cell.row.call, [])), meeting(cell, person, stage):
        page = timely(lambda: person.come_back(callback))
        row = standing(person)
    return ended(person, person.told(page), row, callback)


def _carried(cell: Cell, stage: Stage) -> Story:
    """The stream brings the relay a record; the answer says what it is to bring again."""
    person = stage.person()
    if cell.row.call == "put aside":
        return _put_aside(cell, person, stage)
    callback = person.approved()
    said = person.told(timely(lambda: person.come_back(callback)))
    with meeting(cell, person, stage):
        failed = stage.bring(person.item())
        row = "named as failed" if failed else "told" if person.is_at_rest() else "not at rest"
    if failed:
        assert stage.bring(person.item()) == []
        assert person.is_at_rest(), "the second time nothing is left to the sweeper"
    return ended(person, said, row, callback)


def _put_aside(cell: Cell, person: Person, stage: Stage) -> Story:
    """The stream brings something that is no row of ours."""
    poison = {"id": {"S": f"flow#{person.flow_id}"}, "status": {"S": "connected"}}
    with meeting(cell, person, stage):
        row = "named as failed" if stage.bring(poison) else "told"
    if row == "named as failed":
        assert stage.bring(poison) == []
    return Story("", row, "put aside" if person.flow_id in stage.set_aside() else "gone", 0, 0, stage.told(person))


def _swept(cell: Cell, stage: Stage) -> Story:
    """Something is overdue when the sweeper comes."""
    person = stage.person()
    if cell.row.call == "settle as abandoned":
        return _swept_away(cell, person, stage)
    callback = person.approved()
    broken_before, moved_on = _OVERDUE[cell.row.call]
    with stage.sweeping:
        with stage.proxy.breaking(*[away(call, person) for call in broken_before]):
            person.come_back(callback)
        with meeting(cell, person, stage):
            person.time_passes()
            row = "moved on" if moved_on(person) else "as it was"
        person.time_passes()
        assert moved_on(person)
    return ended(person, "connected", row, callback)


def _moved_on(person: Person) -> bool:
    return person.known_row().status not in {"claimed", "unstored"}


_AWAY = (["create the secret"], _moved_on)
_INTERRUPTED = (["settle"], _moved_on)
_UNTOLD: tuple[list[str], Callable[[Person], bool]] = ([], lambda person: person.known_row().published_at is not None)
_OVERDUE: dict[str, tuple[list[str], Callable[[Person], bool]]] = {
    "query the leases": _INTERRUPTED,
    "query what is due": _AWAY,
    "look into the fallback": _AWAY,
    "own": _AWAY,
    "create the secret": _AWAY,
    "delete from the fallback": _AWAY,
    "settle": _AWAY,
    "read the flow": _INTERRUPTED,
    "look into the vault": _INTERRUPTED,
    "end the lease": (["settle"], lambda person: _moved_on(person) and person.lease() is None),
    "publish": _UNTOLD,
    "mark": _UNTOLD,
}
"""Which calls of the callback fail first, so that the sweeper makes this call; and what shows that it moved it on."""


def _swept_away(cell: Cell, person: Person, stage: Stage) -> Story:
    """A person who never came back."""
    said = person.told(person.open_link())
    with stage.sweeping, meeting(cell, person, stage):
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


def ended(person: Person, said: str, row: str, callback: str) -> Story:
    """Go on as the person and the minutes would, to the end; count."""
    then = person.told(timely(lambda: person.come_back(callback)))
    while then == "in progress":
        person.time_passes()
        then = person.told(person.come_back(callback))
    person.comes_to_rest()
    if person.known_row().status in {"orphaned", "failed"}:  # the link starts anew
        page = person.open_link()
        assert page.location is not None, page.text
        assert person.told(person.come_back(person.approve(page.location))) == "connected"
        person.comes_to_rest()
    return Story(said, row, then, person.exchanges, len(person.tokens()), person.stage.told(person))
