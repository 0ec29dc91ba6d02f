"""When an engine over servers ends: on a fatal error, or when no token was received for too long.

Every running call is held by the lifeline, so that the end reaches all of them at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from veridistill.engines.endpoint.pool import Pool
from veridistill.errors import EngineDown, VeridistillError


class Lifeline:
    """`patience`: seconds without a token from any server of `pool`, with calls running, that end the engine."""

    def __init__(self, pool: Pool, patience: float) -> None:
        self._pool, self._patience = pool, patience
        self._ended: VeridistillError | None = None
        self._held: set[asyncio.Timeout] = set()
        self._watch: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Raises the error that ended the engine."""
        if self._ended is not None:
            raise type(self._ended)(str(self._ended))

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Hold a running call. Raises the error that ends the engine in the meantime."""
        self.check()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as held:
                if not self._held:
                    self._pool.moved_at = loop.time()
                self._held.add(held)
                if self._watch is None:
                    self._watch = loop.call_later(self._patience, self._look)
                try:
                    yield
                finally:
                    self._held.discard(held)
        except TimeoutError:
            self.check()
            raise

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = None
        left = self._pool.moved_at + self._patience - loop.time()
        if self._held and left > 0:
            self._watch = loop.call_later(left, self._look)
        elif self._held:
            answers = "; ".join(f"{server.url}: {server.last_answer}" for server in self._pool.servers)
            self.end(
                EngineDown(
                    f"no token was received for {self._patience:g} s (engine.patience); last answers: {answers}."
                    " Run the same command again when the server is back"
                )
            )

    def end(self, error: VeridistillError) -> VeridistillError:
        """Every running call fails with the error, and every later one; returns it."""
        if self._ended is None:
            self._ended = error
            for held in self._held:
                held.reschedule(asyncio.get_running_loop().time())
        return error

    def close(self) -> None:
        self.end(EngineDown("the endpoint engine is closed; open it again"))
        if self._watch is not None:
            self._watch.cancel()
