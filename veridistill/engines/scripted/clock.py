"""Simulated time for the scripted engine: slots, durations, and a clock that is real or jumps."""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from veridistill.engines.scripted.script import uniform

Clock = Literal["real", "virtual"]


@dataclass(eq=False, slots=True)
class _Call:
    future: "asyncio.Future[None]"
    tokens: int
    duration: float
    start: float = -1.0
    over: bool = False


class SimulatedTime:
    """Simulated time: calls wait for a slot in order and hold it for their duration."""

    def __init__(
        self,
        seconds_per_token: float,
        slots: int,
        clock: Clock,
        shuffle: int | None,
        settle: int,
        busy: Callable[[], bool] | None,
    ) -> None:
        self.busy_seconds = 0.0
        self.cancelled_tokens = self.cancelled_calls = 0
        self._ended_tokens = 0
        self._seconds_per_token, self._free, self._shuffle = seconds_per_token, slots, shuffle
        self._virtual, self._settle, self._busy = clock == "virtual", settle, busy
        self._virtual_now = 0.0
        self._arrivals = 0
        self._waiting: deque[_Call] = deque()
        self._running: list[tuple[float, int, _Call]] = []  # virtual clock: a heap by end
        self._held: set[_Call] = set()  # those that have a slot
        self._driver: asyncio.Task[None] | None = None

    def now(self) -> float:
        return self._virtual_now if self._virtual else time.monotonic()  # the event loop's own clock

    async def pass_for(self, tokens: int, seed: int) -> None:
        call = _Call(asyncio.get_running_loop().create_future(), tokens, self._duration(tokens, seed))
        self._arrivals += 1
        self._waiting.append(call)
        self._fill()
        try:
            await call.future
        except asyncio.CancelledError:
            self._cancel(call)
            raise

    def _duration(self, tokens: int, seed: int) -> float:
        seconds = tokens * self._seconds_per_token or 0.001
        return (
            seconds if self._shuffle is None else seconds * (0.1 + uniform(seed ^ (self._shuffle << 32), 8))
        )

    def _fill(self) -> None:
        while self._free and self._waiting:
            call = self._waiting.popleft()
            if call.over:
                continue
            self._free -= 1
            call.start = self.now()
            self._held.add(call)
            if self._virtual:
                heapq.heappush(self._running, (call.start + call.duration, self._arrivals, call))
                self._arrivals += 1
            else:
                asyncio.get_running_loop().call_later(call.duration, self._end, call)
        if self._virtual and self._running and (self._driver is None or self._driver.done()):
            self._driver = asyncio.get_running_loop().create_task(self._drive())

    async def _drive(self) -> None:
        """Jump from completion to completion, each when nothing more can be asked before it."""
        while self._running:
            await self._quiet()
            end, _, call = heapq.heappop(self._running)
            if not call.over:
                self._virtual_now = end
                self._end(call)

    async def _quiet(self) -> None:
        seen, turns = self._arrivals, 0
        while turns < self._settle:
            waits = self._busy is not None and self._busy()
            await asyncio.sleep(0.0002 if waits else 0)
            turns = turns + 1 if self._arrivals == seen and not waits else 0
            seen = self._arrivals

    def _end(self, call: _Call) -> None:
        if call.over:
            return
        self._release(call)
        self._ended_tokens += call.tokens
        if not call.future.done():
            call.future.set_result(None)
        self._fill()

    def _release(self, call: _Call) -> None:
        call.over = True
        if call.start >= 0:
            self._free += 1
            self._held.discard(call)
            self.busy_seconds += self.now() - call.start

    @property
    def decoded_tokens(self) -> int:
        """Tokens of all calls until now, as if they were decoded evenly."""
        # A tuple, since another thread may ask.
        return self._ended_tokens + sum(map(self._decoded, tuple(self._held)))

    def _decoded(self, call: _Call) -> int:
        return min(call.tokens, int(call.tokens * (self.now() - call.start) / call.duration))

    def _cancel(self, call: _Call) -> None:
        self.cancelled_calls += 1
        if call.over:  # it ended in the same turn of the event loop
            self.cancelled_tokens += call.tokens
            return
        if call.start >= 0:
            decoded = self._decoded(call)
            self.cancelled_tokens += decoded
            self._ended_tokens += decoded
        self._release(call)
        self._fill()
