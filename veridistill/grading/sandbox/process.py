"""A sandbox from outside: starting it, giving it tests, and reporting what became of each; never a verdict.

The limits on processor time, memory and output are enforced and reported by `inside`. A program that sleeps
exceeds none of them, and is ended here. The state of its threads distinguishes it from one that waits for a processor:
so a busy machine ends no program, and the clock ends only what does nothing.
"""

import asyncio
import contextlib
import json
import os
import signal
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from veridistill.grading.sandbox.backends import Backend, Limits
from veridistill.grading.sandbox.inside import OUT_OF_MEMORY
from veridistill.grading.sandbox.interpreter import Interpreter

__all__ = ["Ending", "Run", "Sandbox", "opened"]

Ending = Literal["exited", "failed", "timeout", "memory", "output_limit", "unfinished"]
"""How a test ended. "unfinished": the machine did not give it the processor time that its limits allow."""
_START = 60.0
"""Seconds in which a sandbox must be ready."""
_TICK = 0.25
"""Seconds between two looks at a program's threads."""
_MIB = 1 << 20


@dataclass(frozen=True)
class Run:
    """What became of one test: `output` is standard output, or the result as JSON; `error` the end of the traceback.

    `cpu` is in seconds.
    """

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
        self._process = process.pid
        self._limits = limits

    async def load(self, code: str, entry: str | None) -> None:
        """Hand the program over. Raises OSError or EOFError when the server does not come up."""
        await self.hand({"code": [code], "entry": entry, "driver": "", "pipes": []})

    async def hand(self, program: dict[str, Any]) -> None:
        """Hand over what `inside` is to run. Raises as `load` does."""
        self._send(json.dumps(program).encode())
        async with asyncio.timeout(_START):
            await self._frame()

    async def run(self, given: bytes) -> Run:
        """Run one test in a separate process. Raises OSError or EOFError when the server is lost.

        After a test that this ended by the clock (asleep, or unfinished) the sandbox takes no other.
        """
        reply = self.begin(given)
        try:
            return await self.within(reply) or reply.result()
        finally:
            reply.cancel()

    def begin(self, given: bytes) -> "asyncio.Task[Run]":
        """Start one test; how it ends, without a clock."""
        self._send(given)
        return asyncio.create_task(self._reply())

    async def within(self, *awaited: "asyncio.Task[Any]") -> Run | None:
        """Wait for the first of what the program is to do; the run that the clock ends, if it does."""
        idle, started = 0.0, time.monotonic()
        while not (await asyncio.wait(awaited, timeout=_TICK, return_when=asyncio.FIRST_COMPLETED))[0]:
            idle += _TICK if _asleep(self._process) else 0.0
            if idle >= self._limits.idle:
                return Run("timeout", b"", f"it slept or waited for {idle:g} s")
            if time.monotonic() - started > self._limits.patience:
                said = f"not finished after {self._limits.patience:g} s: too busy a machine"
                return Run("unfinished", b"", said)
        return None

    async def _reply(self) -> Run:
        report, output = await self._frame(), await self._frame()
        try:
            return _run(json.loads(report), output, self._limits)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EOFError(f"the sandbox answered {report[:100]!r}") from error

    def _send(self, data: bytes) -> None:
        self._in.write(struct.pack(">Q", len(data)) + data)

    async def _frame(self) -> bytes:
        (size,) = struct.unpack(">Q", await self._out.readexactly(8))
        if size > self._limits.output + _MIB:
            raise EOFError(f"the sandbox announced {size} bytes")
        return await self._out.readexactly(size)


def _run(report: dict[str, Any], output: bytes, limits: Limits) -> Run:
    error, code, cpu = str(report["stderr"]), int(report["code"]), float(report["cpu"])
    ending: Ending = "exited"
    if int(report["size"]) > limits.output:
        ending = "output_limit"
    elif cpu >= limits.cpu or code == -signal.SIGXCPU:
        ending, error = "timeout", error or f"took {cpu:.1f} s of processor time"
    elif code == -signal.SIGKILL:
        # The program may send no signals and was within its limits: most likely the machine's memory is full.
        peak = int(report["peak"]) // _MIB
        raise EOFError(
            f"the program was killed from outside when it used {peak} MiB; is the machine out of memory?"
        )
    elif code == OUT_OF_MEMORY:
        ending = "memory"
    elif code:
        ending = "failed"
        error = error or (f"killed by signal {-code}" if code < 0 else f"exit status {code}")
    return Run(ending, output, error, cpu)


def _asleep(process: int) -> bool:
    """Whether no thread of the program runs, waits for a processor (R) or for a disk (D).

    The program is the youngest descendant of the sandbox's first process. Where it cannot be seen, it is not known to
    sleep.
    """
    youngest = process
    while below := _children(youngest):
        youngest = below[-1]
    if youngest == process:
        return False
    try:
        return not any(
            _state(youngest, int(thread)) in "RD" for thread in os.listdir(f"/proc/{youngest}/task")
        )
    except OSError:
        return False


def _state(process: int, thread: int) -> str:
    with open(f"/proc/{process}/task/{thread}/stat", "rb") as file:
        return file.read().rpartition(b") ")[2][:1].decode("ascii")


@contextlib.asynccontextmanager
async def opened(
    way: Backend,
    limits: Limits,
    worker: int = 0,
    python: Interpreter | None = None,
    pipes: tuple[int, ...] = (),
) -> AsyncIterator[Sandbox]:
    """A sandbox; its processes have ended afterwards, in every case. Raises OSError when it cannot be started.

    `worker` numbers the sandboxes that are open at once; `python` is by default the one that runs veridistill. `pipes`
    are descriptors that are open inside too, under the same numbers.
    """
    command = way(python or Interpreter.own(), limits, worker)
    try:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            env=command.environment,
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(*command.descriptors, *pipes),
            start_new_session=True,  # Ctrl-C is for us: open tests are finished first
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
    """The last line that a server or tool printed before it ended."""
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
