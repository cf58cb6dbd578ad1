"""The order of tokens is the moment of Finch's answer, and an older token is kept but never current."""

from __future__ import annotations

import dataclasses

from finch_connect.domain.flow import Status
from finch_connect.domain.grant import Exchange
from finch_connect.domain.secret import Secret
from finch_connect.flow.token_storage import document, grant_in
from tests.unit.conftest import GRANT, SECRET_NAME, World


def token(name: str) -> Exchange:
    return dataclasses.replace(GRANT, access_token=Secret(name))


def tokens(world: World) -> list[str]:
    """Return the tokens in the connection's secret, the current one last."""
    return [grant_in(text).access_token.reveal() for text in world.vault.secrets[SECRET_NAME].values()]


def test_a_claim_that_had_to_retry_gets_the_newer_token_in(world: World) -> None:
    """A claims first and is answered last, because Finch sent 429 before. A's token is the newer one."""
    early, late = world.started(), world.started(link="link-2")
    exchange = world.finch.exchange

    def answered_late(**arguments: object) -> Exchange:
        world.finch.exchange = exchange  # type: ignore[method-assign]
        world.clock.forward(seconds=1)
        world.finch.answers = [token("of-b")]
        world.publish(world.finish(late, code="code-b"))
        world.clock.forward(seconds=1)
        world.finch.answers = [token("of-a")]
        return exchange(**arguments)  # type: ignore[arg-type]

    world.finch.exchange = answered_late  # type: ignore[method-assign]
    flow = world.finish(early, code="code-a")
    assert (flow.status, flow.reason) == (Status.CONNECTED, None)
    assert tokens(world) == ["of-b", "of-a"]


def test_a_superseded_token_is_kept_as_a_version_that_is_not_current(world: World) -> None:
    """The sweeper stores a token that waited, after the customer signed in again."""
    world.vault.down = True
    world.finch.answers = [token("older")]
    world.finish(world.started())
    world.vault.down = False
    row = world.row()
    world.table.end_lease(GRANT.connection_id or "", flow_id=row.flow_id, claimed_at=row.claimed_at or 0, stored=False)
    world.clock.forward(minutes=1)
    world.finch.answers = [token("newer")]
    world.publish(world.finish(world.started(link="link-2")))
    world.sweep()
    assert (world.row().status, world.row().reason) == (Status.CONNECTED, "superseded")
    assert tokens(world) == ["newer"]
    (kept,) = world.vault.superseded[SECRET_NAME].values()
    assert grant_in(kept).access_token == Secret("older")


def test_the_moment_of_the_grant_survives_the_fallback(world: World) -> None:
    """The sweeper orders a waiting token by when Finch gave it, not by when it is stored."""
    flow = world.finish(world.started())
    grant = dataclasses.replace(GRANT, granted_at=1_768_478_400_123)
    assert grant_in(document(flow, grant)).granted_at == 1_768_478_400_123


def test_another_text_of_one_attempt_is_another_version(world: World) -> None:
    """AWS refuses a repeated version id with another text for ever, for example after the document's format changed."""
    flow = world.finish(world.started())
    row = dataclasses.replace(world.row(), status=Status.UNSTORED, due_at=0)
    world.table.flows[row.flow_id] = row
    changed = dataclasses.replace(GRANT, entity_ids=("entity-1",), granted_at=1)
    world.fallback.documents[row.attempt] = document(flow, changed)
    world.sweep()
    versions = list(world.vault.secrets[SECRET_NAME]) + list(world.vault.superseded.get(SECRET_NAME, {}))
    assert len(set(versions)) == 2
    assert {one[:32] for one in versions} == {flow.version_prefix}
