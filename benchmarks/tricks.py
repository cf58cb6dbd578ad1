"""What each trick is worth: our own functions with one trick undone, measured in the same rounds as everything else.

A trick is undone in a copy of the built layer, by the text it is made of: one that moved or went ends the benchmark.
"""

from __future__ import annotations

import os
import py_compile
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.stand_in import StandIn
from benchmarks.subjects import PEERS, Subject, installed

type Undo = Callable[[Path, StandIn, Subject], Subject]
"""Undoes a trick in the layer's copy (a folder); returns the subject, which already uses that copy."""


@dataclass(frozen=True, slots=True)
class Trick:
    """One trick: its name, the subject whose start it speeds up, and how it is undone."""

    title: str
    subject: str
    undo: Undo


def undone(trick: Trick, subject: Subject, server: StandIn) -> Subject:
    """Return the subject without the trick, under the trick's title."""
    function, layer = subject.paths
    copy = server.authority.with_name(f"without-{TRICKS.index(trick)}")
    shutil.copytree(layer, copy, copy_function=os.link)  # 14 MB each otherwise
    without = replace(subject, name=trick.title, title=f"{subject.name} without it", paths=(function, copy))
    return trick.undo(copy, server, without)


def _edited(*edits: tuple[str, str, str]) -> Undo:
    """Return what replaces text in the layer's modules: (module, what stands there, what takes its place)."""

    def undo(layer: Path, _server: StandIn, subject: Subject) -> Subject:
        for module, old, new in edits:
            path = layer / "finch_connect" / module
            text = path.read_text()
            if text.count(old) != 1:
                raise ValueError(f"{subject.name}: {module} has no such line any more: {old}")
            path.unlink()  # a link to the layer's own
            path.write_text(text.replace(old, new))
            _compile(path)
        return subject

    return undo


def _compile(path: Path) -> None:
    compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc"
    compiled.unlink()
    py_compile.compile(
        str(path), str(compiled), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )


def _no_bytecode(layer: Path, _server: StandIn, subject: Subject) -> Subject:
    for folder in list(layer.rglob("__pycache__")):
        shutil.rmtree(folder)
    return subject


def _all_models(layer: Path, _server: StandIn, subject: Subject) -> Subject:
    shutil.rmtree(layer / "botocore" / "data")
    shutil.copytree(installed(PEERS / "c") / "botocore" / "data", layer / "botocore" / "data")
    return subject


def _all_authorities(_layer: Path, server: StandIn, subject: Subject) -> Subject:
    return replace(subject, environment={**subject.environment, "AWS_CA_BUNDLE": str(server.full_bundle)})


def _with_boto3(layer: Path, server: StandIn, subject: Subject) -> Subject:
    for package in ("boto3", "s3transfer"):
        shutil.copytree(installed(PEERS / "c") / package, layer / package)
    edits = _edited(
        ("adapters/aws.py", "from botocore.session import get_session", "import boto3"),
        ("adapters/aws.py", "get_session()", "boto3.Session()"),
        ("adapters/aws.py", ".create_client(", ".client("),
    )
    return edits(layer, server, subject)


def _with_pyjwt(layer: Path, server: StandIn, subject: Subject) -> Subject:
    shutil.copytree(installed(PEERS / "u") / "jwt", layer / "jwt")
    return _edited(("jws.py", "import hmac\n", "import hmac\nimport jwt\n"))(layer, server, subject)


TRICKS = (
    Trick("bytecode that stays valid after zipping", "callback", _no_bytecode),
    Trick("pruned service models", "callback", _all_models),
    Trick("Amazon's authorities alone, for AWS", "callback", _all_authorities),
    Trick(
        "no garbage collection during init",
        "callback",
        _edited(("coldstart.py", "\ngc.disable()\n", "\n"), ("coldstart.py", "    gc.freeze()\n", "")),
    ),
    Trick("botocore without boto3", "callback", _with_boto3),
    Trick("our own JWS instead of PyJWT", "callback", _with_pyjwt),
    Trick(
        "one TLS context for Finch instead of a bundle a request",
        "callback",
        _edited(
            ("adapters/finch.py", "return _Adapter(self._tls)", "return HTTPAdapter(max_retries=_CONNECT_RETRIES)")
        ),
    ),
    Trick(
        "no client for the fallback before it is needed",
        "callback",
        _edited(("wiring.py", 'lambda: client("ssm")', '(lambda made: lambda: made)(client("ssm"))')),
    ),
    Trick(
        "no HTTP client in connect's static form",
        "connect",
        _edited(
            ("wiring.py", "\n\nclass LambdaDeadline", "\nimport finch_connect.adapters.finch\n\n\nclass LambdaDeadline")
        ),
    ),
    Trick(
        "a user agent of our own (warm)",
        "connect",
        _edited(("adapters/aws.py", "    user_agent=", "    user_agent_extra=")),
    ),
)
