"""Reduces botocore's data to what the four functions use, in the form that is read fastest. The Makefile calls it.

On a cold start, endpoints.json takes 17 ms of CPU, DynamoDB's model 5 ms and the SSM model 10 ms (docs/performance.md),
nearly all of it for services, operations and documentation that are never used. botocore reads the rest as before.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

OPERATIONS = {
    "dynamodb": {"GetItem", "PutItem", "Query", "UpdateItem"},
    "events": {"PutEvents"},
    "secretsmanager": {"CreateSecret", "DescribeSecret", "GetSecretValue", "PutSecretValue", "RestoreSecret"},
    "sqs": {"SendMessage"},
    "ssm": {"DeleteParameter", "GetParameter", "GetParametersByPath", "PutParameter"},
}
"""What the adapters call, by service. A test compares it with what they really call."""


def prune(data: Path) -> None:
    """Prune botocore's data folder. Raises KeyError or OSError if botocore has changed its form."""
    for folder in [path for path in data.iterdir() if path.is_dir() and path.name not in OPERATIONS]:
        shutil.rmtree(folder)
    for service, operations in OPERATIONS.items():
        *older, newest = sorted(path for path in (data / service).iterdir() if path.is_dir())
        for version in older:
            shutil.rmtree(version)
        _prune_service(newest, operations)
    endpoints = data / "endpoints.json"
    _write(endpoints, _pruned_endpoints(json.loads(endpoints.read_text())))


def _prune_service(version: Path, operations: set[str]) -> None:
    for file in version.iterdir():
        if file.name.startswith(("examples-", "waiters-", "paginators-")):
            file.unlink()
        elif file.suffix == ".gz":  # unpacking takes longer than reading
            file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
            file.unlink()
    model = version / "service-2.json"
    _write(model, _pruned_model(json.loads(model.read_text()), operations))


def _pruned_model(model: dict[str, Any], operations: set[str]) -> dict[str, Any]:
    """Return a service's model with these operations, the shapes that they use, and no documentation."""
    kept = {name: model["operations"][name] for name in sorted(operations)}
    shapes: dict[str, Any] = {}
    waiting = list(_references(kept))
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            waiting += _references(shapes[name])
    return dict(_without_prose({**model, "operations": kept, "shapes": shapes}))


def _references(part: Any) -> list[str]:
    """Return the names of the shapes that a part of a model refers to."""
    if isinstance(part, list):
        return [name for one in part for name in _references(one)]
    if not isinstance(part, dict):
        return []
    own = [part["shape"]] if isinstance(part.get("shape"), str) else []
    return own + [name for one in part.values() for name in _references(one)]


def _without_prose(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_prose(one) for one in part]
    if not isinstance(part, dict):
        return part
    prose = {name for name in ("documentation", "documentationUrl") if isinstance(part.get(name), str)}
    return {name: _without_prose(one) for name, one in part.items() if name not in prose}


def _pruned_endpoints(endpoints: dict[str, Any]) -> dict[str, Any]:
    """Return the regions of each partition with the endpoints of the used services."""
    for partition in endpoints["partitions"]:
        partition["services"] = {name: service for name, service in partition["services"].items() if name in OPERATIONS}
    return endpoints


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")))


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
