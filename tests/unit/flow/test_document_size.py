"""The stored document: however many entities a connection has, the token is stored and nothing is left out unsaid."""

from __future__ import annotations

import dataclasses
import json

from finch_connect.flow.token_storage import FALLBACK_BYTES, SECRET_BYTES, document, grant_in
from tests.unit.conftest import GRANT, World

SOME = tuple(f"{number:08d}-0000-4000-8000-000000000000" for number in range(150))
MANY = tuple(f"{number:08d}-0000-4000-8000-000000000000" for number in range(5_000))


def test_more_than_a_hundred_entities_are_stored(world: World) -> None:
    """An accountant's connection may have them, and they fit into a secret."""
    world.finch.answers = [dataclasses.replace(GRANT, entity_ids=SOME)]
    world.finish(world.started())
    (versions,) = world.vault.secrets.values()
    content = json.loads(next(iter(versions.values())).reveal())
    assert content["entity_ids"] == list(SOME)
    assert "entity_count" not in content


def test_what_does_not_fit_is_left_out_and_counted(world: World) -> None:
    """The first ids are kept, as many as fit."""
    world.finish(world.started())
    grant = dataclasses.replace(GRANT, entity_ids=MANY)
    for limit in (SECRET_BYTES, FALLBACK_BYTES):
        text = document(world.row(), grant, limit=limit)
        content = json.loads(text.reveal())
        kept = len(content["entity_ids"])
        assert limit - 50 < len(text.reveal().encode()) <= limit
        assert content["entity_ids"] == list(MANY[:kept])
        assert content["entity_count"] == 5_000
        again = grant_in(text)
        assert document(world.row(), again, limit=limit) == text, "read and written again it is the same"


def test_a_document_without_entities_is_not_cut() -> None:
    """There is nothing in it that could be left out."""
    world = World()
    world.finish(world.started())
    text = document(world.row(), GRANT, limit=10)
    assert json.loads(text.reveal())["access_token"] == GRANT.access_token.reveal()


def test_a_token_with_many_entities_fits_into_the_fallback(world: World) -> None:
    """Before, the fallback refused it and the token was lost. The sweeper stores what was kept."""
    world.finch.answers = [dataclasses.replace(GRANT, entity_ids=MANY)]
    world.vault.down = True
    world.finish(world.started())
    (text,) = world.fallback.documents.values()
    assert len(text.reveal()) <= FALLBACK_BYTES
    world.vault.down = False
    assert world.sweep()["stored"] == 1
    (versions,) = world.vault.secrets.values()
    content = json.loads(next(iter(versions.values())).reveal())
    assert (content["access_token"], content["entity_count"]) == (GRANT.access_token.reveal(), 5_000)
