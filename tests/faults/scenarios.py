"""How each case runs: prepare the flow, inject the fault, read the person's answer, and run the flow to its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

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
    "mark as published": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_published_at')}"),
    "mark as searched": ("dynamodb", "UpdateItem", f"{_FLOW} && {_sets('set_searched_at')}"),
    "postpone to the deadline": (
        "dynamodb",
        "UpdateItem",
        f"{_FLOW} && {_sets('set_due_at')} && contains(ConditionExpression, 'deadline')",
    ),
    "read the flow": ("dynamodb", "GetItem", _FLOW),
    "look up the flow": ("dynamodb", "GetItem", _FLOW),
    "query the leases": ("dynamodb", "Query", f"{_TABLE} && {_sets('due', 'connection')}"),
    "query the due flows": ("dynamodb", "Query", f"{_TABLE} && {_sets('due', 'flow')}"),
    "read the link key": ("secretsmanager", "GetSecretValue", "contains(SecretId, '/{stage}/config/link-key')"),
    "read the client credentials": (
        "secretsmanager",
        "GetSecretValue",
        "contains(SecretId, '/{stage}/config/client-credentials')",
    ),
    "create the secret": ("secretsmanager", "CreateSecret", "contains(SecretString, '{flow}')"),
    "put a secret version": ("secretsmanager", "PutSecretValue", "contains(SecretString, '{flow}')"),
    "restore the secret": ("secretsmanager", "RestoreSecret", "contains(SecretId, '{connection}')"),
    "check the vault": ("secretsmanager", "DescribeSecret", "contains(SecretId, '{connection}')"),
    "write the fallback": ("ssm", "PutParameter", "contains(Name, '{flow}')"),
    "read the fallback": ("ssm", "GetParameter", "contains(Name, '{flow}')"),
    "list the fallback": ("ssm", "GetParametersByPath", "contains(Path, '/{stage}/')"),
    "delete from the fallback": ("ssm", "DeleteParameter", "contains(Name, '{flow}')"),
    "send the dead letter": ("sqs", "SendMessage", "contains(MessageBody, '{flow}')"),
    "publish": ("events", "PutEvents", "Entries[?contains(Detail, '{flow}')]"),
}
"""Each call: its service, its operation, and the JMESPath expression over the request that identifies it."""


def fault(call: str, kind: Kind, person: Person, times: int | None = None) -> AwsFault:
    """Return a fault of one call for one person's flow, `times` times (None: until cleared)."""
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


def outage(call: str, person: Person) -> AwsFault:
    """Return a lasting fault: this call always fails, at once."""
    return fault(call, Kind.DENIED, person)


@dataclass(frozen=True, slots=True)
class Result:
    """What a case led to.

    `answer` is the person's first answer and `row` the row at that moment. `final_answer` is the answer of the same URL
    once the fault is cleared. `exchanges`, `tokens` (in the vault) and `events` are counted at the end; an event
    delivered several times counts once.
    """

    answer: str
    row: str
    final_answer: str
    exchanges: int
    tokens: int
    events: tuple[str, ...]


CONNECTED = Result("connected", "connected", "connected", 1, 1, ("connected",))
_TRY_AGAIN = replace(CONNECTED, answer="try again", row="open")
_START_AGAIN = Result("try again", "claimed", "orphaned", 1, 1, ("orphaned", "connected"))
EXPECTED: dict[str, dict[str, Result]] = {
    "connect": {"recovered": replace(CONNECTED, answer="redirect to Finch", row="open"), "try again": _TRY_AGAIN},
    "callback": {
        "recovered": CONNECTED,
        "try again": _TRY_AGAIN,
        "stored later": replace(CONNECTED, row="unstored"),
        "finished later": replace(CONNECTED, answer="try again", row="claimed"),
        "shown later": replace(CONNECTED, answer="try again"),
        "start again": _START_AGAIN,
        "token missing": replace(_START_AGAIN, exchanges=2),
        "token lost": replace(_START_AGAIN, answer="orphaned", row="orphaned token_lost", exchanges=2),
    },
    "relay": {
        "recovered": replace(CONNECTED, row="published"),
        "redelivered": replace(CONNECTED, row="reported as failed"),
        "swept": replace(CONNECTED, row="unfinished"),
    },
    "sweeper": {
        "recovered": replace(CONNECTED, row="processed"),
        "next sweep": replace(CONNECTED, row="unchanged"),
    },
}
"""The countable result of each outcome in the table, by function."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A case with its own code. `exclusive`: it kills functions, so no other case may run on its harness."""

    name: str
    run: Callable[[Harness], Result]
    expected: Result
    exclusive: bool = False
    needs_person = True
    session = False


def run(case: Case, harness: Harness) -> Result:
    """Run a case of the matrix to its end."""
    runs = {"connect": _run_connect, "callback": _run_callback, "relay": _run_relay, "sweeper": _run_sweeper}
    return runs[case.row.function](case, harness)


def expected(case: Case) -> Result:
    """Return the result that a case of the matrix must have."""
    result = EXPECTED[case.row.function][case.outcome]
    if case.row.call == "send the dead letter":  # the record is not a valid row, so it belongs to no flow
        return replace(result, answer="", final_answer="dead-letter", exchanges=0, tokens=0, events=())
    if case.row.call == "settle as abandoned":  # the person left, and opens the link again later
        return replace(result, answer="redirect to Finch", final_answer="abandoned", events=("abandoned", "connected"))
    if case.row.call == "postpone to the deadline":  # the person is still at Finch
        return replace(result, answer="redirect to Finch")
    if case.row.call == "mark as searched":  # there is no token, and the link starts a new attempt
        return replace(EXPECTED["callback"]["token missing"], row=result.row)
    if case.row.function == "sweeper" and case.row.call in _OVERDUE:
        return replace(result, answer=_OVERDUE[case.row.call].answer)
    return result


@contextmanager
def injected(case: Case, person: Person, harness: Harness) -> Iterator[None]:
    """Inject the case's fault within the context, and check that a call met it."""
    broken = fault(case.row.call, case.kind, person, case.times)
    with harness.proxy.breaking(broken) as rules:
        yield
        assert harness.proxy.broken(rules), "the function did not make the call that should fail"


def in_time(request: Callable[[], Page]) -> Page:
    """Return the answer to a request, and check that it took less than LATEST_ANSWER_SECONDS."""
    began = time.monotonic()
    page = request()
    assert time.monotonic() - began < LATEST_ANSWER_SECONDS, "the answer took too long"
    return page


def _run_connect(case: Case, harness: Harness) -> Result:
    """The call fails when a person opens the link."""
    person = harness.person()
    if case.row.exclusive:
        harness.kill("ConnectFunction")  # only a cold start reads the key
    with injected(case, person, harness):
        page = in_time(person.open_link)
    answer, row = person.answer_of(page), row_summary(person)
    if answer != "redirect to Finch":
        page = person.open_link()
    assert page.location is not None, page.text
    return completed(person, answer, row, person.approve(page.location))


def _run_callback(case: Case, harness: Harness) -> Result:
    """The call fails when Finch redirects a person back."""
    person = harness.person()
    if case.row.call in {"put a secret version", "restore the secret"}:
        before = harness.person(username=person.username, customer_id=person.customer_id)
        before.connect()
        before.wait_until_finished()
        if case.row.call == "restore the secret":
            harness.stack.client("secretsmanager").delete_secret(SecretId=person.secret_name, RecoveryWindowInDays=7)
    callback = person.approved()
    if case.row.call == "look up the flow":  # it is not verified that Finch echoes the state
        callback = callback.partition("&state=")[0]
    also = {
        "release": [outage("read the client credentials", person)],
        "write the fallback": [outage("create the secret", person)],
    }
    if case.row.exclusive:
        harness.kill("CallbackFunction")  # only a cold start reads the secrets
    with harness.proxy.breaking(*also.get(case.row.call, [])), injected(case, person, harness):
        page = in_time(lambda: person.come_back(callback))
        row = row_summary(person)
    return completed(person, person.answer_of(page), row, callback)


def _run_relay(case: Case, harness: Harness) -> Result:
    """The call fails when the stream delivers a record. The relay's response says which records to deliver again."""
    person = harness.person()
    if case.row.call == "send the dead letter":
        return _run_dead_letter(case, person, harness)
    callback = person.approved()
    answer = person.answer_of(in_time(lambda: person.come_back(callback)))
    with injected(case, person, harness):
        failed = harness.deliver(person.item())
        row = "reported as failed" if failed else "published" if person.is_finished() else "unfinished"
    if failed:
        assert harness.deliver(person.item()) == []
        assert person.is_finished(), "after the second delivery the sweeper has nothing to do"
    return completed(person, answer, row, callback)


def _run_dead_letter(case: Case, person: Person, harness: Harness) -> Result:
    """The stream delivers a record that is not a valid row."""
    poison = {"id": {"S": f"flow#{person.flow_id}"}, "status": {"S": "connected"}}
    with injected(case, person, harness):
        row = "reported as failed" if harness.deliver(poison) else "published"
    if row == "reported as failed":
        assert harness.deliver(poison) == []
    found = "dead-letter" if person.flow_id in harness.dead_letters() else "missing"
    return Result("", row, found, 0, 0, harness.published(person))


def _run_sweeper(case: Case, harness: Harness) -> Result:
    """The call fails when the sweeper handles an overdue row."""
    person = harness.person()
    if case.row.call in _OF_A_SWEEP:
        return _OF_A_SWEEP[case.row.call](case, person, harness)
    callback = person.approved()
    overdue = _OVERDUE[case.row.call]
    with harness.sweep_lock:
        with harness.proxy.breaking(*[outage(call, person) for call in overdue.broken_before]):
            answer = person.answer_of(person.come_back(callback))
        with injected(case, person, harness):
            person.let_time_pass()
            row = "processed" if overdue.is_processed(person) else "unchanged"
        person.let_time_pass()
        assert overdue.is_processed(person)
    return completed(person, answer, row, callback)


def _is_settled(person: Person) -> bool:
    return person.known_row().status not in {"claimed", "unstored"}


class _Overdue(NamedTuple):
    """How a row becomes one that the sweeper handles: the callback's calls that fail, and the person's answer.

    `is_processed` returns whether the sweeper has done its work.
    """

    broken_before: list[str]
    answer: str
    is_processed: Callable[[Person], bool]


_UNSTORED = _Overdue(["create the secret"], "connected", _is_settled)
_INTERRUPTED = _Overdue(["settle"], "try again", _is_settled)
_UNPUBLISHED = _Overdue([], "connected", lambda person: person.known_row().published_at is not None)
_OVERDUE = {
    "query the leases": _INTERRUPTED,
    "query the due flows": _UNSTORED,
    "read the fallback": _UNSTORED,
    "acquire the lease": _UNSTORED,
    "create the secret": _UNSTORED,
    "delete from the fallback": _UNSTORED,
    "settle": _UNSTORED,
    "read the flow": _INTERRUPTED,
    "check the vault": _INTERRUPTED,
    "mark as searched": _Overdue(
        ["create the secret", "write the fallback", "settle"],
        "try again",
        lambda person: person.known_row().searched_at is not None,
    ),
    "end the lease": _INTERRUPTED._replace(is_processed=lambda person: _is_settled(person) and person.lease() is None),
    "publish": _UNPUBLISHED,
    "mark as published": _UNPUBLISHED,
}


def _run_abandoned(case: Case, person: Person, harness: Harness) -> Result:
    """The call fails when the sweeper settles the flow of a person who left."""
    answer = person.answer_of(person.open_link())
    with harness.sweep_lock, injected(case, person, harness):
        person.let_time_pass()
        row = "processed" if person.known_row().status == "abandoned" else "unchanged"
    person.wait_until_finished()
    status = person.status()
    page = person.open_link()
    assert page.location is not None, page.text
    return replace(completed(person, answer, row, person.approve(page.location)), final_answer=status)


def _run_postponed(case: Case, person: Person, harness: Harness) -> Result:
    """The call fails when the sweeper finds a started flow that was due before its deadline, and has nothing to do."""
    answer, callback = "redirect to Finch", person.approved()

    def is_postponed() -> bool:
        row = person.known_row()
        return row.due_at == row.deadline

    with harness.sweep_lock:
        person.make_overdue(f"flow#{person.flow_id}", "due_at")
        with injected(case, person, harness):
            harness.sweep()
            row = "processed" if is_postponed() else "unchanged"
        harness.sweep()
        assert is_postponed()
    return completed(person, answer, row, callback)


def _run_leftover(case: Case, person: Person, harness: Harness) -> Result:
    """The call fails when the sweeper looks for parameters whose flow has ended."""
    callback = person.approved()
    answer = person.answer_of(person.come_back(callback))
    person.wait_until_finished()
    with harness.sweep_lock:
        harness.stack.client("ssm").put_parameter(
            Name=f"/finch/{harness.name}/unstored/{person.known_row().attempt}",
            Value=json.dumps(person.tokens()[0]),
            Type="SecureString",
        )
        with injected(case, person, harness):
            harness.sweep()
            row = "unchanged" if person.in_fallback() else "processed"
        harness.sweep()
    return completed(person, answer, row, callback)


_OF_A_SWEEP = {
    "settle as abandoned": _run_abandoned,
    "postpone to the deadline": _run_postponed,
    "list the fallback": _run_leftover,
}
"""The calls of the sweeper that it makes for other rows than those of `_OVERDUE`."""


def row_summary(person: Person) -> str:
    """Return the row's status and reason; `open` if nothing was spent."""
    row = person.row()
    if row is None or row.status == "started":
        return "open"
    return f"{row.status} {row.reason}" if row.reason else str(row.status)


def completed(person: Person, answer: str, row: str, callback: str) -> Result:
    """Open the callback's URL again, let time pass until nothing remains to be done, and count."""
    final_answer = person.answer_of(in_time(lambda: person.come_back(callback)))
    while final_answer == "in progress":
        person.let_time_pass()
        final_answer = person.answer_of(person.come_back(callback))
    person.wait_until_finished()
    if person.known_row().status in {"orphaned", "failed"}:  # the link starts a new attempt
        page = person.open_link()
        assert page.location is not None, page.text
        assert person.answer_of(person.come_back(person.approve(page.location))) == "connected"
        person.wait_until_finished()
    return Result(answer, row, final_answer, person.exchanges, len(person.tokens()), person.harness.published(person))
