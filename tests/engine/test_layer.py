"""The built layer: complete by itself, pure Python, and compiled so that no cold start has to."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.engine.deploy import build
from tests.template import ROOT

FUNCTIONS = ["connect", "callback", "relay", "sweeper"]
_UNCHECKED_HASH = 0b01


@pytest.fixture(scope="module")
def built() -> Path:
    """The build folder that SAM wrote."""
    return build().parent


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_needs_nothing_but_itself_and_the_layer(built: Path, function: str) -> None:
    """The emulator's own packages would hide one that is missing: here are none but the layer's."""
    environment = json.loads((ROOT / "events/env.example.json").read_text())["Parameters"]
    environment |= {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    paths = [str(built / f"{function.capitalize()}Function"), str(built / "FinchConnectLayer" / "python")]
    program = f"import sys; sys.path[:0] = {paths}; import app; print(callable(app.handler))"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.stdout.strip(), ran.stderr) == ("True", "")


def test_the_layer_is_pure_python(built: Path) -> None:
    """So that one build runs on arm64 and x86_64."""
    layer = built / "FinchConnectLayer"
    assert [path.name for path in layer.rglob("*") if path.suffix in {".so", ".pyd", ".dylib"}] == []


def test_the_layer_holds_the_models_of_the_services_it_calls_and_no_more(built: Path) -> None:
    """Those that wiring makes clients of. A botocore that keeps them elsewhere fails here and at the import above."""
    wiring = (ROOT / "layers/finch_connect/finch_connect/wiring.py").read_text()
    models = built / "FinchConnectLayer/python/botocore/data"
    assert {path.name for path in models.iterdir() if path.is_dir()} == set(
        re.findall(r'aws\.client\("(\w+)"\)', wiring)
    )
    size = sum(path.stat().st_size for path in (built / "FinchConnectLayer").rglob("*") if path.is_file())
    assert size < 24_000_000


def test_the_layers_bytecode_is_valid_wherever_it_is_unzipped(built: Path) -> None:
    """Unchecked-hash pycs: zip times would make timestamps stale, and every cold start would compile (PEP 552)."""
    layer = built / "FinchConnectLayer" / "python"
    for source in [layer / "finch_connect/flow.py", layer / "boto3/session.py", layer / "requests/api.py"]:
        compiled = Path(importlib.util.cache_from_source(str(source)))
        flags = int.from_bytes(compiled.read_bytes()[4:8], "little")
        assert flags == _UNCHECKED_HASH, compiled


def test_a_function_ships_its_handler_alone(built: Path) -> None:
    """Everything shared is in the layer, once."""
    for function in FUNCTIONS:
        shipped = [path.name for path in (built / f"{function.capitalize()}Function").iterdir()]
        assert [name for name in shipped if not name.startswith("__")] == ["app.py"]
