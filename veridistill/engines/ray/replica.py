"""What runs inside a Ray actor: another engine, asked in batches.

A call to an actor costs about a millisecond of CPU whatever its size, so requests and replies are sent in groups: `put`
brings all requests of one turn of the driver's event loop, `take` waits for replies and returns all that are ready.
This module needs no Ray. `routing` chooses the replica for a request, `pool` deals with deaths.
"""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from veridistill.config import EngineSection, ModelSection
from veridistill.engines.base import Engine, EngineStats, ModelEngine, Rendering
from veridistill.errors import ConfigError, EngineDown, RequestRefused, VeridistillError
from veridistill.records import Completion, Messages, Sampling

PULSE = 0.5
"""Seconds after which `take` returns without replies, so that the driver sees the counts move."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way to a replica, numbered by the driver; `rendering` None: the engine's own prompts."""

    number: int
    messages: Messages
    sampling: Sampling
    seed: int
    rendering: Rendering | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """What a loaded engine says of itself; `place` is where it runs."""

    fingerprint: str
    reasons: bool
    stop_ids: tuple[int, ...]
    context_length: int | None
    capacity: int
    place: str

    @property
    def identity(self) -> tuple[str, bool, tuple[int, ...]]:
        return self.fingerprint, self.reasons, self.stop_ids


Outcome = Completion | RequestRefused | EngineDown | ConfigError


@dataclass(frozen=True, slots=True)
class Report:
    """Outcomes of requests since the last report, and the engine's present counts and capacity."""

    outcomes: tuple[tuple[int, Outcome], ...]
    stats: EngineStats
    capacity: int


class Replica:
    """The actor. Errors are returned and not raised: Ray would wrap them."""

    def __init__(self, section: EngineSection, model: ModelSection) -> None:
        self._section = section
        self._model = model
        self._engine: ModelEngine | None = None
        self._rendered: dict[Rendering, Engine] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._outcomes: list[tuple[int, Outcome]] = []
        self._news = asyncio.Event()

    async def place(self) -> str:
        """Where the actor runs; answers as soon as it has been given a place."""
        return f"{socket.gethostname()} (process {os.getpid()})"

    async def load(self) -> Described | VeridistillError:
        from veridistill.engines import open_engine

        try:
            engine = await asyncio.to_thread(open_engine, self._section, self._model)
        except VeridistillError as error:
            return ConfigError(str(error)) if isinstance(error, ConfigError) else error
        self._engine = engine
        return await self.describe(None)

    async def describe(self, rendering: Rendering | None) -> Described:
        engine = self._asked_with(rendering)
        return Described(
            engine.fingerprint,
            engine.reasons,
            engine.stop_ids,
            engine.context_length,
            engine.capacity,
            await self.place(),
        )

    def _asked_with(self, rendering: Rendering | None) -> Engine:
        """The engine, or its weights with prompts rendered otherwise."""
        assert self._engine is not None
        if rendering is None:
            return self._engine
        if rendering not in self._rendered:
            self._rendered[rendering] = self._engine.rendered(rendering)
        return self._rendered[rendering]

    async def put(self, requests: Sequence[Asked], cancelled: Sequence[int]) -> None:
        for request in requests:
            task = self._tasks[request.number] = asyncio.create_task(self._answer(request))
            task.add_done_callback(partial(self._ended, request.number))
        for number in cancelled:
            if running := self._tasks.get(number):
                running.cancel()

    async def _answer(self, request: Asked) -> None:
        outcome: Outcome
        try:
            engine = self._asked_with(request.rendering)
            outcome = await engine.generate(request.messages, request.sampling, request.seed)
        except (RequestRefused, EngineDown, ConfigError) as error:
            outcome = error
        except Exception as bug:  # the engine boundary
            outcome = EngineDown(f"the engine failed: {type(bug).__name__}: {bug}")
        self._outcomes.append((request.number, outcome))

    def _ended(self, number: int, _: "asyncio.Task[None]") -> None:
        del self._tasks[number]
        self._news.set()

    async def take(self) -> Report:
        """All outcomes since the last call; waits for one, at most for `PULSE`. Cancelled requests have none."""
        assert self._engine is not None
        if not self._outcomes:
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), PULSE)
        outcomes, self._outcomes = tuple(self._outcomes), []
        return Report(outcomes, self._engine.stats(), self._engine.capacity)

    async def close(self) -> EngineStats:
        """Cancel what is under way and close the engine; returns its last counts."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._engine is None:
            return EngineStats()
        await self._engine.close()
        return self._engine.stats()
