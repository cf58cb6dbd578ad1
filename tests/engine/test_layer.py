"""The built layer is complete, pure Python, and compiled, so that no cold start has to compile it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel
from cryptography import x509
from cryptography.x509.oid import NameOID

from authorities import ROOTS
from local.engine.deploy import build
from prune import OPERATIONS
from tests.template import ROOT

FUNCTIONS = ["connect", "callback", "relay", "sweeper"]
_UNCHECKED_HASH = 0b01


@pytest.fixture(scope="module")
def built() -> Path:
    """SAM's build folder."""
    return build().parent


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_needs_only_itself_and_the_layer(built: Path, function: str) -> None:
    """Its handler imports with the layer's packages alone. The emulator's own packages would hide a missing one."""
    environment = json.loads((ROOT / "events/env.example.json").read_text())["Parameters"]
    environment |= {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    paths = [str(built / f"{function.capitalize()}Function"), str(built / "FinchConnectLayer" / "python")]
    program = f"import sys; sys.path[:0] = {paths}; import app; print(callable(app.handler))"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.stdout.strip(), ran.stderr) == ("True", "")


def test_the_layer_is_pure_python(built: Path) -> None:
    """So one build runs on arm64 and on x86_64."""
    layer = built / "FinchConnectLayer"
    assert [path.name for path in layer.rglob("*") if path.suffix in {".so", ".pyd", ".dylib"}] == []


def test_the_layer_contains_only_the_operations_that_are_called(built: Path) -> None:
    """botocore can read the pruned models. Each operation is complete, and no other operation is left.

    A botocore that stores its data in another format fails here or in the build.
    """
    data = built / "FinchConnectLayer/python/botocore/data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == OPERATIONS.keys()
    loader = Loader(extra_search_paths=[str(data)], include_default_search_paths=False)
    for service, operations in OPERATIONS.items():
        model = ServiceModel(loader.load_service_model(service, "service-2"), service)
        assert set(model.operation_names) == operations
        for name in operations:
            operation = model.operation_model(name)
            full = botocore.session.get_session().get_service_model(service).operation_model(name)
            assert _members(operation.input_shape) == _members(full.input_shape)
            assert _members(operation.output_shape) == _members(full.output_shape)
            assert {shape.name for shape in operation.error_shapes} == {shape.name for shape in full.error_shapes}


def test_the_layer_contains_every_operation_that_the_adapters_call() -> None:
    """Compares the adapters' client methods with the list. A missing operation would otherwise fail only when used.

    No function uses `owners.py`; the operator's machine has the whole of botocore.
    """
    adapters = set((ROOT / "layers/finch_connect/finch_connect/adapters").glob("[!_]*.py"))
    adapters -= {path for path in adapters if path.name == "owners.py"}
    called = {name for path in adapters for name in re.findall(r"client(?:\(\))?\.([a-z_]+)\b", path.read_text())}
    assert called == {xform_name(name) for operations in OPERATIONS.values() for name in operations}


def _members(shape: Any, seen: tuple[str, ...] = ()) -> Any:
    """Return a shape and all shapes within it, as names and types."""
    if shape is None or shape.name in seen:
        return None if shape is None else shape.name
    within = (*seen, shape.name)
    if shape.type_name == "structure":
        return {name: _members(member, within) for name, member in shape.members.items()}
    if shape.type_name == "list":
        return [_members(shape.member, within)]
    if shape.type_name == "map":
        return (_members(shape.key, within), _members(shape.value, within))
    return shape.type_name


def test_no_model_is_left_in_a_slow_form(built: Path) -> None:
    """Uncompressed, without documentation, with the called services' endpoints only: saves 25 ms per cold start."""
    data = built / "FinchConnectLayer/python/botocore/data"
    assert [path.name for path in data.rglob("*") if path.suffix == ".gz" or "examples" in path.name] == []
    assert sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) < 280_000
    endpoints = json.loads((data / "endpoints.json").read_text())
    assert {name for one in endpoints["partitions"] for name in one["services"]} <= OPERATIONS.keys()
    assert "eu-central-1" in endpoints["partitions"][0]["regions"]


def test_the_layer_contains_the_root_certificates_for_aws_and_for_finch(built: Path) -> None:
    """For AWS's endpoints five roots, each valid for at least another year. For Finch, certifi unchanged."""
    layer = built / "FinchConnectLayer" / "python"
    roots = x509.load_pem_x509_certificates((layer / "finch_connect/amazon-root-cas.pem").read_bytes())
    named = {root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for root in roots}
    assert named == set(ROOTS)
    assert all(root.not_valid_after_utc > datetime.now(UTC) + timedelta(days=365) for root in roots)
    assert (layer / "certifi/cacert.pem").read_text().count("BEGIN CERTIFICATE") > 100


def test_the_layer_stays_small(built: Path) -> None:
    """Lambda fetches and unpacks it before anything else. The limit is 16 MB unpacked."""
    size = sum(path.stat().st_size for path in (built / "FinchConnectLayer").rglob("*") if path.is_file())
    assert size < 16_000_000


def test_the_layers_bytecode_is_valid_wherever_it_is_unzipped(built: Path, tmp_path: Path) -> None:
    """Its .pyc files use unchecked hashes (PEP 552), because zip times would make timestamps stale.

    Zipped and unzipped as by SAM and Lambda, with other times, nothing in the layer is compiled again.
    """
    packed = shutil.make_archive(str(tmp_path / "layer"), "zip", built / "FinchConnectLayer")
    unpacked = tmp_path / "opt"
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(unpacked)  # the archive made above; the files get the current time
    layer = unpacked / "python"
    compiled = sorted(layer.rglob("*.pyc"))
    assert len(compiled) > 500
    assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled} == {_UNCHECKED_HASH}
    program = "import finch_connect.wiring, finch_connect.adapters.finch, finch_connect.web.endpoint"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-v", "-c", f"import sys; sys.path.insert(0, {str(layer)!r}); {program}"],
        env={"POWERTOOLS_SERVICE_NAME": "x"},
        capture_output=True,
        text=True,
        check=True,
    )
    read = [line for line in ran.stderr.splitlines() if "matches" in line and str(layer) in line]
    made = [line for line in ran.stderr.splitlines() if "wrote" in line or "bytecode is stale" in line]
    assert len(read) > 100
    assert [line for line in made if str(layer) in line] == []


def test_each_build_of_the_layer_is_different(built: Path) -> None:
    """Otherwise a deployment that changes only a parameter would leave the API on the old version (tests/template)."""
    built_at = datetime.fromisoformat((built / "FinchConnectLayer" / "built-at").read_text().strip())
    ended = datetime.fromtimestamp((built / "template.yaml").stat().st_mtime, UTC)
    assert timedelta() <= ended - built_at < timedelta(minutes=5)


def test_a_function_ships_only_its_handler(built: Path) -> None:
    """All shared code is in the layer, once."""
    for function in FUNCTIONS:
        shipped = [path.name for path in (built / f"{function.capitalize()}Function").iterdir()]
        assert [name for name in shipped if not name.startswith("__")] == ["app.py"]
