"""Admission by need. One rule: *admit the call that is most likely to be needed*.

A call is needed now, or it is needed with a chance: the product of the chances of all that must still fail (or pass)
before it, computed when a slot is free. Needed calls go first, those of older questions before younger ones, so that
the tail is short. Only idle slots are given to work that may be needed: of all work on offer the likeliest is started,
and one slot is reserved for every open question, so that early work never delays needed work.

The gate knows nothing of what is asked. It also keeps, by label, how often branches passed and what they cost; these
rates steer cost alone, never what is kept.
"""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Literal

from veridistill.lazy import Offer

Speculation = Literal["idle", "off"]

_BATCH = 64
"""Early work is chosen once a 64th of the slots is free, since each choice looks at all offers."""


class Need:
    """A node in the tree of needs: the current chance that a branch is needed, given that its parent is."""

    __slots__ = ("_chance", "_parent")

    def __init__(self, parent: "Need | None" = None, chance: Callable[[], float] | None = None) -> None:
        self._parent = parent
        self._chance = chance

    def chance(self) -> float:
        """The chance that a call under this node is needed; 1.0 means for certain."""
        chance, node = 1.0, self
        while node._parent is not None:
            if node._chance is not None:
                chance *= node._chance()
            node = node._parent
        return chance

    def under(self, chance: Callable[[], float] | None) -> "Need":
        return self if chance is None else Need(self, chance)


@dataclass(slots=True)
class Rate:
    """What branches of one label did: the chance of passing by Laplace's rule of succession, mean completion tokens."""

    passed: int = 0
    asked: int = 0
    tokens: int = 0

    @property
    def passing(self) -> float:
        return (self.passed + 1) / (self.asked + 2)

    @property
    def cost(self) -> float:
        return max(self.tokens / self.asked, 1.0) if self.asked else 1.0

    @property
    def rejections_per_token(self) -> float:
        return (1.0 - self.passing) / self.cost


@dataclass(slots=True)
class _Waiting:
    need: Need
    future: asyncio.Future[None]


@dataclass(slots=True)
class _Slot:
    """A class, since a generator-based context manager would cost every call some microseconds more."""

    gate: "Gate"
    need: Need
    rank: int

    async def __aenter__(self) -> None:
        await self.gate.enter(self.need, self.rank)

    async def __aexit__(self, *error: object) -> None:
        self.gate.leave()


class Gate:
    """At most `width` calls in the engine at once, the most needed first.

    `speculation`: "idle" starts work on offer while slots are idle; "off" starts none.
    """

    def __init__(self, width: int, speculation: Speculation = "idle") -> None:
        self.width = width
        self.running = 0
        self.closed = False
        self._drained: Callable[[], object] | None = None
        self.speculation = speculation
        self._needed: list[tuple[int, int, _Waiting]] = []
        self._maybe: list[_Waiting] = []
        self._offers: dict[int, tuple[Need, Offer]] = {}
        self._units = 0
        self._early = 0
        self._numbers = count()
        self._fill_due = False
        self._rates: dict[str, Rate] = {}

    def resize(self, width: int) -> None:
        """Follow an engine whose capacity changed; calls that run beyond a smaller width are not cancelled."""
        if width != self.width:
            self.width = width
            self._admit()

    # Units: questions or problems that are open.

    def open_unit(self) -> int:
        """A new unit's rank: older units go first."""
        self._units += 1
        return next(self._numbers)

    def close_unit(self) -> None:
        self._units -= 1
        self._fill_soon()

    @property
    def idle(self) -> bool:
        """Whether there are slots beyond one for each open unit and each early branch."""
        return self.speculation == "idle" and self._units + self._early < self.width and not self.closed

    @property
    def speculates(self) -> bool:
        """Whether there are slots beyond one for each open unit, which early work fills."""
        return self.speculation == "idle" and self._units < self.width

    # Calls.

    def slot(self, need: Need, rank: int) -> "_Slot":
        """Hold one slot of the engine, with `async with`; waits its turn."""
        return _Slot(self, need, rank)

    async def enter(self, need: Need, rank: int) -> None:
        if self.running < self.width and not self._needed and not self.closed:
            self.running += 1
        else:
            await self._wait(need, rank)

    def leave(self) -> None:
        self.running -= 1
        self._admit()

    async def _wait(self, need: Need, rank: int) -> None:
        waiting = _Waiting(need, asyncio.get_running_loop().create_future())
        if need.chance() >= 1.0:
            heapq.heappush(self._needed, (rank, next(self._numbers), waiting))
        else:
            self._maybe.append(waiting)
        try:
            await waiting.future
        except asyncio.CancelledError:
            if waiting.future.done() and not waiting.future.cancelled():
                self.running -= 1
                self._admit()
            else:
                self._maybe = [other for other in self._maybe if other is not waiting]
            raise

    def _admit(self) -> None:
        while self.running < self.width and not self.closed and (waiting := self._most_needed()):
            self.running += 1
            waiting.future.set_result(None)
        if self.closed and self._drained and not self.running:
            # A turn later, when the last reply has been handed to the journal; once, since it starts closing things.
            asyncio.get_running_loop().call_soon(self._drained)
            self._drained = None
        self._fill_soon()

    def _most_needed(self) -> _Waiting | None:
        self._maybe = [waiting for waiting in self._maybe if not waiting.future.done()]
        best = max(self._maybe, key=lambda waiting: waiting.need.chance(), default=None)
        if best is None or (self._needed and best.need.chance() < 1.0):
            while self._needed:
                waiting = heapq.heappop(self._needed)[2]
                if not waiting.future.done():
                    return waiting
        if best is not None:
            self._maybe.remove(best)
        return best

    def drain(self, then: Callable[[], object]) -> None:
        """Admit no more calls; `then` is called once, when those in the engine have ended."""
        self.closed = True
        self._drained = then
        self._admit()

    # Work on offer.

    def offer(self, need: Need, work: Offer) -> None:
        if self.speculation == "idle":
            self._offers[id(work)] = (need, work)
            self._fill_soon()

    def withdraw(self, work: Offer) -> None:
        self._offers.pop(id(work), None)

    def early(self, change: int) -> None:
        """Count an early branch that began (+1) or ended (-1)."""
        self._early += change
        self._fill_soon()

    def _fill_soon(self) -> None:
        """Once the callers that were just woken have asked; not for each slot of a wide engine (`_BATCH`)."""
        if self._offers and not self._fill_due and self.idle and self._free >= max(self.width // _BATCH, 1):
            self._fill_due = True
            asyncio.get_running_loop().call_soon(self._fill)

    @property
    def _free(self) -> int:
        return self.width - max(self.running, self._units + self._early)

    def _fill(self) -> None:
        """Start the likeliest work on offer. An offer's chance changes as its work starts, so it is computed again."""
        self._fill_due = False
        if not self.idle or self._free <= 0:
            return
        ranked = [(-need.chance() * work.chance(), key) for key, (need, work) in self._offers.items()]
        heapq.heapify(ranked)
        while ranked and self.idle and self._free > 0:
            chance, key = heapq.heappop(ranked)
            if chance >= 0.0:
                return
            if key not in self._offers:
                continue
            need, work = self._offers[key]
            work.start()
            if key in self._offers:
                heapq.heappush(ranked, (-need.chance() * work.chance(), key))

    # What was learned.

    def rate(self, label: str) -> Rate:
        rate = self._rates.get(label)
        if rate is None:
            rate = self._rates[label] = Rate()
        return rate

    def learn(self, label: str, passed: bool, tokens: int) -> None:
        rate = self.rate(label)
        rate.asked += 1
        rate.passed += passed
        rate.tokens += tokens
