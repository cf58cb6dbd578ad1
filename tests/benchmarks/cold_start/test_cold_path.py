"""The cold path, in the built functions on the built layer: what it imports, and what init must not do.

What is made at init is in every copy of a snapshot (`SnapStart=on`): a random number would be the same in all of them,
and a connection would be broken in all of them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.cold_start.fake_services import FakeServices, fake_services
from benchmarks.cold_start.subjects import Subject, our_functions

FOR_AWS = {"botocore", "urllib3", "jmespath", "dateutil", "six", "certifi"}
FOR_LOGS_AND_METRICS = {"aws_lambda_powertools", "typing_extensions"}
FOR_FINCH = {"requests", "charset_normalizer", "idna"}
OURS = {"app", "finch_connect"}
ALLOWED = {
    "connect": OURS | FOR_AWS | FOR_LOGS_AND_METRICS,
    "callback": OURS | FOR_AWS | FOR_LOGS_AND_METRICS | FOR_FINCH,
}
"""The packages that a cold start may read, its first request included."""

HEAVY = {
    "aws_lambda_powertools.event_handler",  # 32 ms of CPU
    "aws_lambda_powertools.utilities.data_classes",  # 19
    "aws_lambda_powertools.utilities.parameters",  # 47
    "aws_lambda_powertools.utilities.parser",  # 61
    "asyncio",
    "ctypes",
    "multiprocessing",
    "unittest",
    "xmlrpc",
}
"""Modules within what is allowed, or within Python, that would be a mistake to import."""

MOST_MODULES = {"connect": 400, "callback": 500}

_PROGRAM = """
import os, sys
taken, connected, opened, loaded, urandom, begun = [], [], [], [], os.urandom, set(sys.modules)
os.urandom = lambda size: taken.append(size) or urandom(size)  # before `random` and `secrets` take hold of it

def hear(event, args):
    if event == "open":
        opened.append(str(args[0]))
    if event.startswith("socket.connect"):
        connected.append(event)

sys.addaudithook(hear)

import app

at_init = {"random": len(taken), "connections": len(connected), "secrets": app.PORTS.keys._current is not None}

import json, secrets, ssl

load = ssl.SSLContext.load_verify_locations
ssl.SSLContext.load_verify_locations = lambda *args: loaded.append(args[1]) or load(*args)

class Context:
    aws_request_id = "request"
    def get_remaining_time_in_millis(self):
        return 29000

sys.stdout = open(os.devnull, "w")
answers = [app.handler(event, Context())["statusCode"] for event in json.load(sys.stdin)]
secrets.token_bytes(1)
seen = {"random": len(taken) > 0, "connections": len(connected) > 0, "secrets": app.PORTS.keys._current is not None}
modules = sorted(set(sys.modules) - begun)
services = sorted({path.split("/data/")[1].split("/")[0] for path in opened if path.endswith("service-2.json")})
report = {"answers": answers, "modules": modules, "services": services, "loaded": loaded}
print(json.dumps({**report, "at_init": at_init, "seen": seen}), file=sys.stderr)
"""


@dataclass
class Cold:
    """What one function did from nothing to its first answer; `seen`: what it did later shows that we can tell."""

    name: str
    answers: list[int]
    modules: list[str]
    services: list[str]
    loaded: list[str | None]
    at_init: dict[str, int]
    seen: dict[str, bool]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServices]:
    """AWS and Finch, as far as one connection needs them."""
    with fake_services(tmp_path_factory.mktemp("fake-services")) as running:
        yield running


@pytest.fixture(scope="module")
def functions(server: FakeServices) -> dict[str, Subject]:
    """Connect and callback as they ship."""
    return {function.name: function for function in our_functions(server)}


@pytest.fixture(scope="module", params=["connect", "callback"])
def cold(request: pytest.FixtureRequest, functions: dict[str, Subject]) -> Cold:
    """One of the two, started once in a process of its own and asked once."""
    return start(functions[request.param])


KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


def run(
    function: Subject, program: str, *events: dict[str, Any], credentials: Mapping[str, str] = KEYS
) -> subprocess.CompletedProcess[str]:
    environment = {
        **function.environment,
        **credentials,
        "PYTHONPATH": os.pathsep.join(map(str, function.paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_LAMBDA_FUNCTION_NAME": "cold",
    }
    command = [sys.executable, "-S", "-c", program]  # -S: nothing of this environment's own packages
    ran = subprocess.run(
        command, env=environment, input=json.dumps(events), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran


def start(function: Subject, requests: int = 1) -> Cold:
    events = [function.event() for _ in range(requests)]
    report = json.loads(run(function, _PROGRAM, *events).stderr.splitlines()[-1])
    return Cold(function.name, **report)


def test_a_cold_start_reads_the_allowed_packages_and_no_other(cold: Cold) -> None:
    """A new import on the cold path is a decision: it belongs into the list above, with what it costs."""
    packages = {name.partition(".")[0] for name in cold.modules}
    assert cold.answers == [303]
    assert packages - set(sys.stdlib_module_names) == ALLOWED[cold.name]


def test_a_cold_start_reads_nothing_heavy(cold: Cold) -> None:
    """Neither a part of an allowed package nor of Python that costs much."""
    assert {heavy for heavy in HEAVY if any(f"{name}.".startswith(f"{heavy}.") for name in cold.modules)} == set()


def test_a_cold_start_reads_few_modules(cold: Cold) -> None:
    """Each costs a tenth to a half of a millisecond; a library that grew is noticed here."""
    assert len(cold.modules) <= MOST_MODULES[cold.name]


def test_a_cold_start_makes_the_clients_it_needs(cold: Cold) -> None:
    """The fallback's, when the vault is away, is made then."""
    assert cold.services == ["dynamodb", "secretsmanager"]


def test_finchs_authorities_are_read_once_a_container(functions: dict[str, Subject]) -> None:
    """requests would read its bundle for each connection."""
    cold = start(functions["callback"], requests=3)
    assert cold.answers == [303, 303, 303]
    assert len([path for path in cold.loaded if path and path.endswith("certifi/cacert.pem")]) == 1


def test_nothing_random_or_secret_is_made_at_init_and_no_connection(cold: Cold) -> None:
    """In copies of a snapshot cookies would be alike, a secret as old as the snapshot, and a connection gone."""
    assert cold.at_init == {"random": 0, "connections": 0, "secrets": False}
    assert cold.seen == {"random": True, "connections": True, "secrets": True}


def test_garbage_is_collected_after_init_and_not_during_it(functions: dict[str, Subject]) -> None:
    """The handler's first import turns it off; after its last line it is on, and what there is is frozen."""
    program = """if True:
        import gc, finch_connect.coldstart
        off = gc.isenabled()
        import app
        print(off, gc.isenabled(), gc.get_freeze_count() > 1000)"""
    for function in functions.values():
        assert run(function, program).stdout == "False True True\n"
        handler = (function.paths[0] / "app.py").read_text()
        assert re.findall(r"^(?:from|import) .+$", handler, re.MULTILINE)[0].startswith(
            "from finch_connect import coldstart"
        )


def test_a_request_to_aws_says_who_asks(functions: dict[str, Subject], server: FakeServices) -> None:
    """botocore would compose its own user agent anew for each request."""
    server.forget()
    start(functions["connect"])
    (user_agent,) = {headers["User-Agent"] for headers in server.asked}
    assert user_agent.startswith("finch-connect ")  # and Powertools' own word
    assert "Botocore" not in user_agent


@contextmanager
def container_credentials(*handed_out: tuple[str, timedelta]) -> Iterator[dict[str, str]]:
    """Hand out access keys that live so long, one after the other, as Lambda does for functions with snapshots."""
    left = list(handed_out)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            key, life = left.pop(0)
            expires = (datetime.now(UTC) + life).strftime("%Y-%m-%dT%H:%M:%SZ")
            content = {"AccessKeyId": key, "SecretAccessKey": "x", "Token": "x", "Expiration": expires}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_port}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "x",
        }
        server.shutdown()


def test_after_a_restore_the_functions_credentials_are_fresh(
    functions: dict[str, Subject], server: FakeServices
) -> None:
    """With snapshots Lambda gives no keys in the environment: botocore asks for them when the clients are made.

    Those of the snapshot have run out at the restore, and the first request asks again.
    """
    for function in functions.values():
        server.forget()
        minute, hour = timedelta(minutes=1), timedelta(hours=1)
        with container_credentials(("KEYATINIT", minute), ("KEYAFTER", hour), ("KEYAFTER", hour)) as credentials:
            run(function, _PROGRAM, function.event(), credentials=credentials)
        signed = {re.findall(r"Credential=(\w+)/", headers["Authorization"])[0] for headers in server.asked}
        assert signed == {"KEYAFTER"}
