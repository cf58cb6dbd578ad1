"""The controls behind the promise. `make mutations` removes one at a time, and the named case must then fail."""

from __future__ import annotations

from tests.attacks.mutations.mutation import Mutation

_LAYER = "layers/finch_connect/finch_connect"
_DOMAIN, _FLOW, _ADAPTERS, _WEB = (f"{_LAYER}/{folder}/" for folder in ("domain", "flow", "adapters", "web"))

CONTROLS = [
    Mutation(
        "the fallback",
        _FLOW + "callback.py",
        "            ports.fallback.put(flow.attempt, text)",
        '            raise ServiceUnavailableError("no_fallback")',
        (27,),
        "callback-create_the_secret-500-lasting",
    ),
    Mutation(
        "the conditional settle",
        _ADAPTERS + "conditions.py",
        '    condition = "#status = :was AND state_hash',
        '    condition = "(#status = :was OR #status <> :was) AND state_hash',
        (27,),
        "test_27_a_late_write_changes_nothing",
    ),
    Mutation(
        "a restart keeps what is not published",
        _ADAPTERS + "table.py",
        'f"({_START_CONDITIONS[rule]}) AND {_NOTHING_UNPUBLISHED}"',
        'f"({_START_CONDITIONS[rule]})"',
        (29,),
        "test_29_a_restart_during_an_outage_of_the_bus_loses_no_outcome",
    ),
    Mutation(
        "the partial batch response",
        "functions/relay/app.py",
        'return {"batchItemFailures": [{"itemIdentifier": sequence} for sequence in dict.fromkeys(failed)]}',
        'return {"batchItemFailures": []}',
        (27,),
        "relay-publish-500-lasting",
    ),
    Mutation(
        "an event without its metadata instead of none",
        _FLOW + "outbox.py",
        "        again = ports.bus.publish([one.flow for one in refused.values()], with_metadata=False)",
        "        again = ports.bus.publish([one.flow for one in refused.values()], with_metadata=True)",
        (29,),
        "test_29_an_event_that_is_refused_for_good",
    ),
    Mutation(
        "the deadline",
        _FLOW + "deadline.py",
        "        return self._ends - self._monotonic() - self._reserved",
        "        return math.inf",
        (26,),
        "a_byte_per_second",
    ),
    Mutation(
        "only one claim at a time stores",
        _ADAPTERS + "table.py",
        "OR (attribute_not_exists(due_at) AND ",
        "OR (attribute_exists(id) AND ",
        (28,),
        "test_28_an_older_token_never_replaces_a_newer_one",
    ),
    Mutation(
        "the sweeper's check of the vault",
        _ADAPTERS + "vault.py",
        'if "DeletedDate" in answer or not found:',
        "if True:",
        (28,),
        "after_the_store",
    ),
    Mutation(
        "a claim is identified by its own id",
        _ADAPTERS + "table.py",
        "OR (#status = :set_status AND claim_id = :set_claim_id)",
        "OR (#status = :was AND claim_id = :set_claim_id)",
        (27,),
        "callback-claim-reset_after-once",
    ),
]
