"""Running a program that a model wrote, contained: one sandbox a program, one fresh process a test.

`Sandbox` starts the confined server, gives it tests and reports what became of each: an ending, the output, never a
verdict. `backend` finds a way of confinement that works on this machine by attacking it once. Comparing outputs is
`programs`', and expected outputs never come here.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from veridistill.errors import ConfigError
from veridistill.grading.sandbox.backends import BACKENDS, Backend, Limits

__all__ = ["Backend", "Limits", "Run", "Sandbox", "backend", "opened"]

Ending = Literal["exited", "failed", "timeout", "memory", "output_limit"]
_GRACE = 20.0
"""Seconds beyond a test's own limit after which the server itself is taken to be lost; also for its start."""
_PROBE = """
import json, os, socket, sys, threading
def tried(attack):
    try:
        return bool(attack())
    except (OSError, RuntimeError):
        return False
def thread():
    one = threading.Thread(target=list); one.start(); one.join(); return True
def connect():
    with socket.socket() as s: s.settimeout(1); s.connect(("127.0.0.1", PORT)); return True
ways = dict(network=connect, file=lambda: open(CANARY).read(), processes=lambda: os.kill(PID, 0) or True,
            writing=lambda: open("/tmp/veridistill-probe", "w"), fork=lambda: os.fork() >= 0,
            root=lambda: os.geteuid() == 0, secrets=lambda: "VERIDISTILL_PROBE" in os.environ,
            environment=lambda: open("/proc/%d/environ" % PID, "rb").read())
print(json.dumps({"thread": tried(thread), "escaped": [n for n, w in ways.items() if tried(w)]}))
"""


@dataclass(frozen=True)
class Run:
    """What became of one test: `output` is standard output, or the result as JSON; `error` the end of the traceback."""

    ending: Ending
    output: bytes
    error: str = ""
    cpu: float = 0.0


class Sandbox:
    """A server that confines itself and runs one program's tests. `opened` makes one and ends it."""

    def __init__(self, process: asyncio.subprocess.Process, limits: Limits) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._limits = limits

    async def load(self, code: str, entry: str | None) -> None:
        """Hand the program over. Raises OSError or EOFError when the server does not come up."""
        self._send(json.dumps({"code": code, "entry": entry}).encode())
        async with asyncio.timeout(_GRACE):
            await self._frame()

    async def run(self, given: bytes) -> Run:
        """Run one test in a process of its own. Raises OSError or EOFError when the server is lost."""
        self._send(given)
        async with asyncio.timeout(self._limits.wall + _GRACE):
            report, output = await self._frame(), await self._frame()
        try:
            return _run(json.loads(report), output, self._limits)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EOFError(f"the sandbox answered {report[:100]!r}") from error

    def _send(self, data: bytes) -> None:
        self._in.write(struct.pack(">Q", len(data)) + data)

    async def _frame(self) -> bytes:
        (size,) = struct.unpack(">Q", await self._out.readexactly(8))
        if size > self._limits.output + (1 << 20):
            raise EOFError(f"the sandbox announced {size} bytes")
        return await self._out.readexactly(size)


def _run(report: dict[str, Any], output: bytes, limits: Limits) -> Run:
    error = str(report["stderr"])
    code = int(report["code"])
    last = error.rstrip().rpartition("\n")[2]
    ending: Ending = "exited"
    if int(report["size"]) > limits.output:
        ending = "output_limit"
    elif report["late"] or code == -signal.SIGXCPU:
        ending = "timeout"
    elif code == -signal.SIGKILL or (code and "MemoryError" in last.partition(":")[0]):
        ending = "memory"
    elif code:
        ending = "failed"
        error = error or (f"killed by signal {-code}" if code < 0 else f"exit status {code}")
    return Run(ending, output, error, float(report["cpu"]))


@contextlib.asynccontextmanager
async def opened(way: Backend, limits: Limits, worker: int = 0) -> AsyncIterator[Sandbox]:
    """A sandbox; whatever happens, its processes are gone afterwards. Raises OSError when it cannot be started."""
    command = way(limits, worker)
    try:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            env=command.environment,
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=command.descriptors,
            start_new_session=True,  # Ctrl-C is for us: an exam drains, and its sandboxes go on until it has
        )
    finally:
        for descriptor in command.descriptors:
            os.close(descriptor)
    try:
        yield Sandbox(process, limits)
    except EOFError as error:
        raise EOFError(await _said(process) or str(error)) from error
    finally:
        _kill(process)
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.shield(process.communicate())


async def _said(process: asyncio.subprocess.Process) -> str:
    """The last line that a server or tool which is no more printed."""
    assert process.stderr is not None
    _kill(process)
    text = (await process.stderr.read(1 << 16)).decode("utf-8", "replace").strip()
    return text.rpartition("\n")[2]


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a sandbox, the server first: root's bubblewrap has no right to end the user that the server became.

    Not by `Process.kill`, which may reap the process behind asyncio's back.
    """
    if process.returncode is None:
        for one in (*_children(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)


def _children(process: int) -> list[int]:
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{process}/task/{process}/children", encoding="ascii") as listed,
    ):
        return [int(one) for one in listed.read().split()]
    return []


async def backend(names: Sequence[str] = tuple(BACKENDS)) -> Backend:
    """The first way that runs a job and contains it. Raises `ConfigError` that says what each lacks."""
    faults = []
    for name in names:
        if not (fault := await probe(BACKENDS[name])):
            return BACKENDS[name]
        faults.append(f"{name}: {fault}")
    raise ConfigError(
        "programs cannot be run safely here ("
        + "; ".join(faults)
        + "); install bubblewrap (apt install bubblewrap, or pip install 'veridistill[eval]') on a Linux that lets"
        " this user make namespaces, or use a kernel with Landlock"
    )


async def probe(way: Backend) -> str:
    """Attack a sandbox once: "" when it runs a job and contains it, else what is wrong."""
    with tempfile.NamedTemporaryFile() as canary, socket.create_server(("127.0.0.1", 0)) as server:
        canary.write(b"canary")
        canary.flush()
        os.chmod(canary.name, 0o644)
        known = f"PORT, CANARY, PID = {server.getsockname()[1]}, {canary.name!r}, {os.getpid()}\n"
        try:
            async with opened(way, Limits()) as sandbox:
                await sandbox.load(known + _PROBE, None)
                done = await sandbox.run(b"")
        except (OSError, EOFError) as error:
            return str(error) or type(error).__name__
    if done.ending != "exited":
        return f"the job {done.ending}: {done.error[-200:]}"
    found = json.loads(done.output)
    if found["escaped"]:
        return f"not contained: {', '.join(found['escaped'])}"
    return "" if found["thread"] else "programs cannot start threads"
