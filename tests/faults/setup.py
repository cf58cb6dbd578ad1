"""What is played on a stage beside the cells of the matrix: a name, how it is played, and what has to come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.harness import Stage
from tests.faults.scenarios import Story


@dataclass(frozen=True, slots=True)
class Scene:
    """One story. `alone`: it kills functions, so nothing else may be played on its stage meanwhile."""

    name: str
    play: Callable[[Stage], Story]
    story: Story
    alone: bool = False
    needs_people = True
    session = False
