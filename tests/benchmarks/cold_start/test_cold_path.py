"""The cold path of the built functions on the built layer: what it imports, and what init must not do.

Everything created at init is in every copy of a snapshot (`SnapStart=on`). A random number would be the same in all
copies, and a connection would be broken in all of them.
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
OURS = {"app", "finch_connect"}
ALLOWED = {
    "connect": OURS | FOR_AWS | FOR_LOGS_AND_METRICS,
    "callback": OURS | FOR_AWS | FOR_LOGS_AND_METRICS,
}
"""The packages that a cold start may import, up to its first response."""

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
"""Modules of allowed packages or of Python that must not be imported."""

MOST_MODULES = {"connect": 400, "callback": 500}

_PROGRAM = """
import os, sys
taken, connected, opened, loaded, urandom, begun = [], [], [], [], os.urandom, set(sys.modules)
os.urandom = lambda size: taken.append(size) or urandom(size)  # before `random` and `secrets` bind it

def audit(event, args):
    if event == "open":
        opened.append(str(args[0]))
    if event.startswith("socket.connect"):
        connected.append(event)

sys.addaudithook(audit)

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
    """What one function did up to its first response. `seen` shows that the checks of `at_init` work afterwards."""

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
    """One of the two functions, started in a separate process and invoked once."""
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
    command = [sys.executable, "-S", "-c", program]  # -S: without the packages of this environment
    ran = subprocess.run(
        command, env=environment, input=json.dumps(events), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran


def start(function: Subject, requests: int = 1) -> Cold:
    events = [function.event() for _ in range(requests)]
    report = json.loads(run(function, _PROGRAM, *events).stderr.splitlines()[-1])
    return Cold(function.name, **report)


def test_a_cold_start_imports_only_the_allowed_packages(cold: Cold) -> None:
    """A new import on the cold path is a decision, and is added to the list above with its cost."""
    packages = {name.partition(".")[0] for name in cold.modules}
    assert cold.answers == [303]
    assert packages - set(sys.stdlib_module_names) == ALLOWED[cold.name]


def test_a_cold_start_imports_nothing_heavy(cold: Cold) -> None:
    """No expensive module of an allowed package or of Python is imported."""
    assert {heavy for heavy in HEAVY if any(f"{name}.".startswith(f"{heavy}.") for name in cold.modules)} == set()


def test_a_cold_start_imports_few_modules(cold: Cold) -> None:
    """Each module costs 0.1 to 0.5 ms, so a library that has grown fails this test."""
    assert len(cold.modules) <= MOST_MODULES[cold.name]


def test_a_cold_start_creates_only_the_clients_it_needs(cold: Cold) -> None:
    """The fallback's client is created only when the vault is unavailable."""
    assert cold.services == ["dynamodb", "secretsmanager"]


def test_the_root_certificates_for_finch_are_read_once_per_container(functions: dict[str, Subject]) -> None:
    """Reading them again for each request would cost 16 ms of CPU."""
    cold = start(functions["callback"], requests=3)
    assert cold.answers == [303, 303, 303]
    assert len([path for path in cold.loaded if path and path.endswith("certifi/cacert.pem")]) == 1


def test_init_creates_nothing_random_reads_no_secret_and_opens_no_connection(cold: Cold) -> None:
    """In copies of a snapshot, cookies would be equal, a secret as old as the snapshot, and a connection closed."""
    assert cold.at_init == {"random": 0, "connections": 0, "secrets": False}
    assert cold.seen == {"random": True, "connections": True, "secrets": True}


def test_garbage_is_collected_after_init_and_not_during_it(functions: dict[str, Subject]) -> None:
    """The handler's first import disables collection. After its last line, it is enabled and objects are frozen."""
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


def test_a_request_to_aws_has_the_fixed_user_agent(functions: dict[str, Subject], server: FakeServices) -> None:
    """botocore would compose a user agent for each request."""
    server.clear()
    start(functions["connect"])
    (user_agent,) = {headers["User-Agent"] for headers in server.aws_headers}
    assert user_agent.startswith("finch-connect ")  # followed by Powertools' suffix
    assert "Botocore" not in user_agent


@contextmanager
def container_credentials(*keys: tuple[str, timedelta]) -> Iterator[dict[str, str]]:
    """Serve access keys with these lifetimes, one after another, as Lambda does for functions with snapshots."""
    remaining = list(keys)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            key, lifetime = remaining.pop(0)
            expires = (datetime.now(UTC) + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
            content = {"AccessKeyId": key, "SecretAccessKey": "x", "Token": "x", "Expiration": expires}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_port}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "x",
        }
        server.shutdown()


def test_after_a_restore_the_function_uses_fresh_credentials(
    functions: dict[str, Subject], server: FakeServices
) -> None:
    """Expired credentials of the snapshot are not used after the restore.

    With snapshots, Lambda sets no keys in the environment, and botocore requests them when a client is created. Those
    of the snapshot have expired at the restore, so the first request gets new ones.
    """
    for function in functions.values():
        server.clear()
        minute, hour = timedelta(minutes=1), timedelta(hours=1)
        with container_credentials(("KEYATINIT", minute), ("KEYAFTER", hour), ("KEYAFTER", hour)) as credentials:
            run(function, _PROGRAM, function.event(), credentials=credentials)
        signed = {re.findall(r"Credential=(\w+)/", headers["Authorization"])[0] for headers in server.aws_headers}
        assert signed == {"KEYAFTER"}
