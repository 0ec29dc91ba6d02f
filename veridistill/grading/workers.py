"""Child processes that can be killed: a JSON line in, a JSON line out; none can block the caller.

A worker that exceeds its limit of processor time, or that dies, is replaced when another is needed. Workers are
separate programs (never forks of a process that has threads and an event loop) in a separate process group, so
that Ctrl-C does not reach them; they end when their standard input does, even if we are killed. What they compute is up
to the program that they run.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import veridistill

SECONDS = 120.0
"""Wall clock of one question. A worker limits its processor time itself; only on a very busy machine is it late."""
START_SECONDS = 120.0
_LINE = 1 << 20

Failure = Literal["", "late", "died", "killed", "stalled", "unstartable"]
"""The worker exceeded its processor time; crashed; was killed by another process; got too little processor time; could
not be started. Only the first two are caused by the question."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker replied, or how it failed, with details."""

    value: dict[str, Any]
    failure: Failure = ""
    detail: str = ""


class _Gone(Exception):
    """The child closed its output."""


class _Unstartable(Exception):
    """The child was not ready; the message says why."""


class Workers:
    """At most `num` processes of `python -m module`, started when they are needed. Used with one event loop."""

    def __init__(
        self,
        module: str,
        num: int | None = None,
        seconds: float = SECONDS,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._command = (sys.executable, "-P", "-m", module)
        self._seconds = seconds
        self._start_seconds = start_seconds
        self._free = asyncio.Semaphore(num or len(os.sched_getaffinity(0)))
        self._idle: list[asyncio.subprocess.Process] = []
        self.started = 0

    async def ask(self, question: Sequence[str]) -> Reply:
        """The reply of a free worker. Never raises for what a worker does.

        The question may not have caused a worker's death, so it is then given to another worker, once.
        """
        async with self._free:
            reply = await self._put(question)
            return await self._put(question) if reply.failure in ("died", "killed") else reply

    async def close(self) -> None:
        """End all processes and wait for them."""
        while self._idle:
            await _end(self._idle.pop())

    async def _put(self, question: Sequence[str]) -> Reply:
        try:
            worker = await self._worker()
        except _Unstartable as error:
            return Reply({}, "unstartable", str(error))
        reply, usable = Reply({}, "died"), False
        try:
            async with asyncio.timeout(self._seconds):
                reply = Reply(await _exchange(worker, question))
            usable = True
        except TimeoutError:
            reply = Reply({}, "stalled", f"no reply within {self._seconds:g} s: the machine is too busy")
        except (_Gone, ConnectionError):
            reply = _death(await _end(worker))
        finally:
            if usable:
                self._idle.append(worker)
            else:
                await _end(worker)
        return reply

    async def _worker(self) -> asyncio.subprocess.Process:
        """An idle one, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.returncode is None:
                return worker
            await _end(worker)
        return await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        self.started += 1
        try:
            worker = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=_LINE,
                start_new_session=True,
                env=_environment(),
            )
        except OSError as error:
            raise _Unstartable(f"cannot start a process ({error.strerror})") from None
        ready: dict[str, Any] = {}
        try:
            async with asyncio.timeout(self._start_seconds):
                ready = await _read(worker)
        except TimeoutError:
            raise _Unstartable(f"not ready after {self._start_seconds:g} s") from None
        except _Gone:
            raise _Unstartable(f"ended with {await worker.wait()} before it was ready") from None
        finally:
            if not ready.get("ready"):
                await _end(worker)
        if not ready.get("ready"):
            raise _Unstartable(str(ready.get("error", "not ready")))
        return worker


def _environment() -> dict[str, str]:
    """Ours, with this very package to be found; nothing is imported from the working directory."""
    paths = [
        str(Path(veridistill.__file__).parent.parent),
        *os.environ.get("PYTHONPATH", "").split(os.pathsep),
    ]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


async def _exchange(worker: asyncio.subprocess.Process, question: Sequence[str]) -> dict[str, Any]:
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(question).encode("ascii") + b"\n")
    await worker.stdin.drain()
    return await _read(worker)


async def _read(worker: asyncio.subprocess.Process) -> dict[str, Any]:
    assert worker.stdout is not None
    line = await worker.stdout.readline()
    if not line.endswith(b"\n"):
        raise _Gone
    reply = json.loads(line)
    assert isinstance(reply, dict)
    return reply


async def _end(worker: asyncio.subprocess.Process) -> int:
    """Kill, with all that it started; its exit status. The wait is for a killed process, so it is short."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
    if worker.stdin is not None:
        worker.stdin.close()
        with suppress(ConnectionError):
            await worker.stdin.wait_closed()
    return await worker.wait()


def _death(status: int) -> Reply:
    if status == -signal.SIGPROF:
        return Reply({}, "late", "it took more than its limit of processor time")
    if status == -signal.SIGKILL:
        return Reply({}, "killed", "its process was killed from outside; is the machine out of memory?")
    return Reply({}, "died", f"the comparison ended its process (exit status {status})")
