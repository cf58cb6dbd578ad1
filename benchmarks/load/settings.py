"""What the environment says to `make load`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from local.settings import SettingsError


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """Settings of `make load`.

    `faults` is a share from 0 to 1. No new person starts after `minutes`. `overdue` rows wait for the sweeper.
    """

    flows: int
    browsers: int
    faults: float
    seed: int
    minutes: int
    overdue: int
    record: bool


def load_settings(environment: Mapping[str, str] = os.environ) -> LoadSettings:
    """Read FLOWS, BROWSERS, FAULTS (percent), SEED, MINUTES, OVERDUE and RECORD. Raises SettingsError."""

    def number(name: str, default: int, most: int, least: int = 1) -> int:
        text = environment.get(name, "") or str(default)
        if not text.isdigit() or not least <= int(text) <= most:
            raise SettingsError(f"{name} must be a whole number from {least} to {most:,}, not '{text}'.")
        return int(text)

    return LoadSettings(
        flows=number("FLOWS", 500, 100_000),
        browsers=number("BROWSERS", 20, 200),
        faults=number("FAULTS", 0, 50, least=0) / 100,
        seed=number("SEED", 1, 1_000_000, least=0),
        minutes=number("MINUTES", 30, 240),
        overdue=number("OVERDUE", 0, 100_000, least=0),
        record=environment.get("RECORD", "") not in {"", "0"},
    )
