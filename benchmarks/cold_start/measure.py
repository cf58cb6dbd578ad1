"""One cold start of one subject under Lambda's runtime client: CPU, wall time, memory, and a check of its work."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cold_start.fake_services import FakeServices
from benchmarks.cold_start.runtime_api import RuntimeApi
from benchmarks.cold_start.subjects import FOLDER, Subject, installed
from cli.waiting import wait_for

TIMEOUT_SECONDS = 60.0
_REDIRECTS = {302, 303}


@dataclass(frozen=True, slots=True)
class Stamp:
    """A point in time: wall-clock seconds, and the CPU seconds used by all threads of the process."""

    wall: float
    cpu: float

    def since(self, other: Stamp) -> Stamp:
        """Return the difference from an earlier stamp."""
        return Stamp(self.wall - other.wall, self.cpu - other.cpu)


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start: init and first invocation, warm CPU seconds per invocation, and peak memory in bytes."""

    init: Stamp
    first: Stamp
    warm_cpu: float
    peak_bytes: int

    @property
    def ttfr(self) -> Stamp:
        """Return the time to first response: init plus first invocation."""
        return Stamp(self.init.wall + self.first.wall, self.init.cpu + self.first.cpu)


class NotDoneError(Exception):
    """A subject did not do its work. The message says what is missing."""


def cold_start(subject: Subject, server: FakeServices, *, warm: int) -> Start:
    """Start the subject once, let it answer `1 + warm` events, and end it. Raises NotDoneError."""
    pid = 0

    def stamp() -> Stamp:
        return Stamp(time.monotonic(), _cpu_seconds(pid) if pid else 0.0)

    api = RuntimeApi([subject.event() for _ in range(1 + warm)], stamp)
    server.clear()
    try:
        started = time.monotonic()
        with _running(subject, api, []) as process:
            pid = process.pid
            _wait(api, process)
            peak = _peak_bytes(pid)
    finally:
        api.close()
    _check(subject, api, server, 1 + warm)
    spans = [answered.since(requested) for requested, answered in zip(api.requested, api.answered, strict=True)]
    warm_cpu = statistics.median(span.cpu for span in spans[1:]) if warm else 0.0
    return Start(api.requested[0].since(Stamp(started, 0.0)), spans[0], warm_cpu, peak)


def instructions(subject: Subject, server: FakeServices, invocations: int) -> int:
    """Return how many instructions init and `invocations` invocations take, by callgrind: repeatable, but very slow."""
    api = RuntimeApi([subject.event() for _ in range(invocations)], lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        server.clear()
        wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--quiet"]
        try:
            with _running(subject, api, wrapper) as process:
                _wait(api, process, TIMEOUT_SECONDS * 10)
                process.terminate()
                process.wait(TIMEOUT_SECONDS)
        finally:
            api.close()
        _check(subject, api, server, invocations)
        found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if found is None:
        raise NotDoneError(f"{subject.name}: callgrind reported no count")
    return int(found.group(1))


@contextlib.contextmanager
def _running(subject: Subject, api: RuntimeApi, wrapper: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the subject's process, and kill it at the end of the block. Its output is dropped unless it fails."""
    paths = [*subject.paths, installed(FOLDER)]
    environment = {
        **subject.environment,
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",  # /var/task and /opt are read-only
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "LAMBDA_TASK_ROOT": str(subject.paths[0]),
        "_HANDLER": "app.handler",
    }
    # The interpreter itself, not the virtual environment: only the subject's packages may be importable.
    python = sys._base_executable  # type: ignore[attr-defined]
    command = [*wrapper, python, "-m", "awslambdaric", "app.handler"]
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        try:
            yield process
        except NotDoneError as error:
            printed.seek(0)
            raise NotDoneError(f"{subject.name}: {error}\n{printed.read()[-2000:].decode(errors='replace')}") from None
        finally:
            process.kill()
            process.wait()


def _wait(api: RuntimeApi, process: subprocess.Popen[bytes], seconds: float = TIMEOUT_SECONDS) -> None:
    try:
        wait_for(lambda: api.done.is_set() or process.poll() is not None, timeout=seconds, interval=0.05)
    except TimeoutError:
        raise NotDoneError("did not respond in time") from None
    if not api.done.is_set():
        raise NotDoneError(f"exited with code {process.returncode}")
    if api.error is not None:
        raise NotDoneError(api.error[:2000])


def _check(subject: Subject, api: RuntimeApi, server: FakeServices, invocations: int) -> None:
    """Raise NotDoneError unless each invocation returned a redirect and made its calls in order."""
    statuses = {answer.get("statusCode") for answer in api.answers}
    if len(api.answers) != invocations or not statuses <= _REDIRECTS:
        raise NotDoneError(f"{subject.name}: {len(api.answers)} responses with status {statuses}: {api.answers[:1]}")
    work = [call for call in server.calls if call != "GetSecretValue"]
    read = len(server.calls) - len(work)
    if work != list(subject.calls) * invocations or read < subject.secrets:
        raise NotDoneError(
            f"{subject.name}: expected {subject.calls} and {subject.secrets} secret reads, but it made {server.calls}"
        )


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of another process, including ended threads (Linux: clock_getcpuclockid(3))."""
    return time.clock_gettime(((~pid) << 3) | 2)


def _peak_bytes(pid: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0
