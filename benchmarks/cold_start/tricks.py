"""What each trick saves: our functions with one trick undone, measured in the same rounds as everything else.

A trick is undone in a copy of the built layer by replacing the text that implements it. If that text has changed, the
benchmark ends with an error. A test fails before that.
"""

from __future__ import annotations

import os
import py_compile
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cold_start.fake_services import FakeServices
from benchmarks.cold_start.subjects import PEERS, Subject, installed

type Edit = tuple[str, str, str]
"""A module of the layer, a text that occurs in it once, and its replacement."""

type Change = Callable[[Path, FakeServices, Subject], Subject]
"""Changes the copy of the layer (a folder), or the subject that uses the copy."""


@dataclass(frozen=True, slots=True)
class Trick:
    """One trick: its title, the subject that it speeds up, and how to undo it."""

    title: str
    subject: str
    edits: tuple[Edit, ...] = ()
    change: Change = lambda _layer, _server, subject: subject


def undo(trick: Trick, subject: Subject, server: FakeServices) -> Subject:
    """Return the subject without the trick, named by the trick's title. Raises ValueError if its text is missing."""
    function, layer = subject.paths
    copy = server.authority.with_name(f"without-{TRICKS.index(trick)}")
    shutil.copytree(layer, copy, copy_function=os.link)  # otherwise 14 MB each
    without = replace(subject, name=trick.title, title=f"{subject.name} without it", paths=(function, copy))
    for module, old, new in trick.edits:
        path = copy / "finch_connect" / module
        text = path.read_text()
        if text.count(old) != 1:
            raise ValueError(f"{trick.title}: {module} must contain this text once: {old}")
        path.unlink()  # a hard link to the layer's file
        path.write_text(text.replace(old, new))
        _compile(path)
    return trick.change(copy, server, without)


def _compile(path: Path) -> None:
    compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc"
    compiled.unlink()
    py_compile.compile(
        str(path), str(compiled), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )


def _no_bytecode(layer: Path, _server: FakeServices, subject: Subject) -> Subject:
    for folder in list(layer.rglob("__pycache__")):
        shutil.rmtree(folder)
    return subject


def _all_models(layer: Path, _server: FakeServices, subject: Subject) -> Subject:
    shutil.rmtree(layer / "botocore" / "data")
    shutil.copytree(installed(PEERS / "c") / "botocore" / "data", layer / "botocore" / "data")
    return subject


def _all_authorities(_layer: Path, server: FakeServices, subject: Subject) -> Subject:
    return replace(subject, environment={**subject.environment, "AWS_CA_BUNDLE": str(server.full_bundle)})


def _packages(peer: str, *names: str) -> Change:
    def change(layer: Path, _server: FakeServices, subject: Subject) -> Subject:
        for name in names:
            shutil.copytree(installed(PEERS / peer) / name, layer / name)
        return subject

    return change


TRICKS = (
    Trick("bytecode that stays valid after zipping", "callback", change=_no_bytecode),
    Trick("pruned service models", "callback", change=_all_models),
    Trick("only Amazon's root certificates for AWS", "callback", change=_all_authorities),
    Trick(
        "no garbage collection during init",
        "callback",
        (("coldstart.py", "\ngc.disable()\n", "\n"), ("coldstart.py", "    gc.freeze()\n", "")),
    ),
    Trick(
        "botocore without boto3",
        "callback",
        (
            ("adapters/aws.py", "from botocore.session", "import boto3\nfrom botocore.session"),
            ("adapters/aws.py", "session.create_client(", "boto3.Session(botocore_session=session).client("),
        ),
        _packages("c", "boto3", "s3transfer"),
    ),
    Trick(
        "HS256 by hand instead of PyJWT",
        "callback",
        (("domain/jws.py", "import hmac\n", "import hmac\nimport jwt\n"),),
        _packages("u", "jwt"),
    ),
    Trick(
        "one TLS context for Finch instead of a bundle a request",
        "callback",
        (("adapters/transport.py", "    @cached_property\n    def _tls", "    @property\n    def _tls"),),
    ),
    Trick(
        "a client for the fallback only when it is needed",
        "callback",
        (("wiring.py", 'lambda: client("ssm")', '(lambda made: lambda: made)(client("ssm"))'),),
    ),
    Trick(
        "no HTTP client in connect's static mode",
        "connect",
        (("wiring.py", "from finch_connect.adapters import aws\n", "from finch_connect.adapters import aws, finch\n"),),
    ),
    Trick(
        "a fixed user agent (warm)",
        "connect",
        (("adapters/aws.py", "        user_agent=", "        user_agent_extra="),),
    ),
)
