"""Calls, the replicas that hold them, and which replica a call goes to.

A request goes to the replica that has seen its beginning before (the votes on one question share a cached prefix)
unless that one has clearly more to do than the idlest.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from veridistill.engines.base import EngineStats
from veridistill.engines.ray.replica import Asked
from veridistill.records import Completion, Messages

_PREFIX = 256  # characters of the last message by which requests of one question are known
_SPILL = 0.25  # of a replica's capacity: how much more it may hold than the idlest


@dataclass(eq=False, slots=True)
class Call:
    """A request that a caller waits for. `deaths`: replicas that died while they held it."""

    asked: Asked
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Completion]"
    replica: "Held | None" = None
    deaths: int = 0


@dataclass(eq=False, slots=True)
class Held:
    """A replica as the pool sees it.

    `handle` is there while it is ready; `held` are the calls it has not answered, by number. `requests` and `cancelled`
    go with the next message, `under_way` are requests in messages that it has not confirmed, and `hasty` those of them
    that were cancelled since: a cancellation must not arrive before its request. `lost`: a message did not arrive.
    """

    number: int
    handle: Any = None
    place: str = ""
    capacity: int = 0
    held: dict[int, Call] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    under_way: set[int] = field(default_factory=set)
    hasty: set[int] = field(default_factory=set)
    lost: str = ""
    stats: EngineStats = field(default_factory=EngineStats)
    failures: int = 0

    @property
    def load(self) -> float:
        """The share of its capacity that is taken; 1.0 is full."""
        return len(self.held) / self.capacity


def route(messages: Messages, replicas: Sequence[Held]) -> Held:
    """Where a request goes: to the replica that its beginning points to (rendezvous hashing, so that a replica that
    joins or leaves moves only its own share), or to the idlest when that one is full or clearly busier."""
    prefix = crc32(messages[-1].content[:_PREFIX].encode("utf-8", "replace"))
    home = max(replicas, key=lambda replica: hash((prefix, replica.number)))
    idlest = min(replicas, key=lambda replica: replica.load)
    return home if home.load < 1.0 and home.load <= idlest.load + _SPILL else idlest


def deliver(answered: Sequence[tuple[Call, Completion | Exception]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Call, Completion | Exception]]] = {}
    for call, outcome in answered:
        by_loop.setdefault(call.loop, []).append((call, outcome))
    for loop, settled in by_loop.items():
        if not loop.is_closed():  # else its callers are gone
            loop.call_soon_threadsafe(_resolve, settled)


def _resolve(settled: Sequence[tuple[Call, Completion | Exception]]) -> None:
    for call, outcome in settled:
        if call.future.done():
            continue
        if isinstance(outcome, Exception):
            call.future.set_exception(outcome)
        else:
            call.future.set_result(outcome)
