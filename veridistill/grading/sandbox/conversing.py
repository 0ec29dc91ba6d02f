"""A sandbox whose program is talked to while it runs, by two pipes: for calls and their answers, as `calling` has them.

Starting and confining is left to `process`. Whoever takes over the program writes what it likes into its pipe, so a
frame is bytes, with a limit on their number, and nothing more; what they say is for the other process to judge.
"""

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from veridistill.grading.sandbox.backends import Backend, Limits
from veridistill.grading.sandbox.interpreter import Interpreter
from veridistill.grading.sandbox.process import Run, Sandbox, opened

__all__ = ["Conversing", "conversing"]

_DRIVER = Path(__file__).with_name("calling.py")


class Conversing:
    """A program in a sandbox, and the pipes to it. `conversing` makes one and ends it."""

    def __init__(self, sandbox: Sandbox, pipes: "_Pipes", limits: Limits) -> None:
        self._sandbox, self._pipes, self._limits = sandbox, pipes, limits
        self._end: asyncio.Task[Run] | None = None

    async def start(self, code: Sequence[str], given: bytes = b"") -> None:
        """Run the texts of a program in turn, then `calling`: with tests to run, or to answer calls of the program.

        Raises OSError or EOFError when the server does not come up.
        """
        await self._sandbox.hand(
            {"code": code, "entry": None, "driver": _DRIVER.read_text("utf-8"), "pipes": self._pipes.inside}
        )
        self._end = self._sandbox.begin(given)

    def send(self, frame: bytes) -> None:
        self._pipes.writer.write(struct.pack(">Q", len(frame)) + frame)

    async def receive(self) -> bytes | Run:
        """The next frame, or how the program ended. Raises OSError or EOFError when the server is lost."""
        assert self._end is not None, "after start"
        frame = asyncio.create_task(self._frame())
        try:
            ended = await self._sandbox.within(frame, self._end)
            return ended or (frame if frame.done() else self._end).result()
        finally:
            frame.cancel()

    async def stop(self) -> None:
        """Leave the sandbox's output to those who end it."""
        if self._end is not None:
            self._end.cancel()
            await asyncio.gather(self._end, return_exceptions=True)

    async def _frame(self) -> bytes | Run:
        (size,) = struct.unpack(">Q", await self._pipes.reader.readexactly(8))
        if size > self._limits.output:
            return Run("output_limit", b"", f"{size:,} bytes in one value")
        return await self._pipes.reader.readexactly(size)


@dataclass(frozen=True)
class _Pipes:
    """`inside` are the program's ends: where it writes and where it reads."""

    reader: asyncio.StreamReader
    writer: asyncio.WriteTransport
    inside: tuple[int, int]


@contextlib.asynccontextmanager
async def conversing(
    way: Backend, limits: Limits, worker: int, python: Interpreter
) -> AsyncIterator[Conversing]:
    """A sandbox to talk to; its processes have ended afterwards, in every case. Raises OSError as `opened` does."""
    async with _piped() as pipes, opened(way, limits, worker, python, pipes.inside) as sandbox:
        talk = Conversing(sandbox, pipes, limits)
        try:
            yield talk
        finally:
            await talk.stop()


@contextlib.asynccontextmanager
async def _piped() -> AsyncIterator[_Pipes]:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    (ours_in, theirs_out), (theirs_in, ours_out) = os.pipe(), os.pipe()
    incoming, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb", 0)
    )
    outgoing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(ours_out, "wb", 0))
    try:
        yield _Pipes(reader, outgoing, (theirs_out, theirs_in))
    finally:
        incoming.close()
        outgoing.abort()
        os.close(theirs_in)
        os.close(theirs_out)
