"""The combinators that carry all of the laziness: `first`, `every` and `each`. Standard library only.

A branch is a piece of work that may or may not turn out to be needed. The method writes its branches down as if all
of them were asked; a branch is *started, or never created*. `first` and `every` run their branches in order and stop
at the one that settles the outcome: the first that passes, or the first that does not. Meanwhile the next branch is on
`offer`: where the engine has slots that nothing needed wants, the gate may start it early. An early branch runs under a
live chance of being needed and is cancelled as soon as the outcome is known. Under an `ask` that is exhaustive, every
branch runs. Laziness changes what is asked, never what is found.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from veridistill.records import Completion, Messages, Path, Sampling


class Result(Protocol):
    """What a branch returns: something that passed or did not."""

    @property
    def passed(self) -> bool: ...


R = TypeVar("R", bound=Result)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Branch(Generic[R]):
    """Work on one outcome. `label` says whose learned rates apply; `path` is the start of its requests' paths."""

    label: str
    path: Path
    run: Callable[["Ask"], Awaitable[R]]


class Offer(Protocol):
    """Work that could start early: the gate reads `chance` when a slot is idle, and calls `start` to take it up."""

    def chance(self) -> float: ...

    def start(self) -> None: ...


class Ask(Protocol):
    """The way to a model, as one branch holds it. Calling it makes a request and returns the reply."""

    async def __call__(self, role: str, path: Path, messages: Messages, sampling: Sampling) -> Completion:
        """Raises `RequestRefused` when the engine refuses this request alone."""
        ...

    forecast: Callable[[], float] | None
    """The live chance that what runs under this `Ask` passes; set by the combinator that runs there."""

    @property
    def spent(self) -> int:
        """Completion tokens of the replies that came through this `Ask` and those under it."""
        ...

    @property
    def exhaustive(self) -> bool:
        """Ask everything, whether it can still matter or not."""
        ...

    @property
    def idle(self) -> bool:
        """Whether the engine has slots that nothing needed wants, so that branches may run side by side."""
        ...

    def under(self, chance: Callable[[], float] | None) -> "Ask":
        """An `Ask` for one branch; `chance`: how likely it is needed, given that this one is (None: it is)."""
        ...

    def choose(self, branches: Sequence[Branch[R]]) -> int:
        """Which of several branches, all of which must pass, to ask next."""
        ...

    def outlook(self, branch: Branch[R]) -> float:
        """The chance, learned in the run, that this branch passes."""
        ...

    def learn(self, branch: Branch[R], passed: bool, spent: int) -> None: ...

    def known(self, branch: Branch[R]) -> bool:
        """Whether a reply of this branch is already in the journal."""
        ...

    def offer(self, work: Offer) -> None: ...

    def withdraw(self, work: Offer) -> None: ...

    def discard(self) -> None:
        """Say that what came through this `Ask` turned out not to be needed."""
        ...

    def early(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work that is not needed yet as a task, counted as such until it ends."""
        ...


async def first(branches: Sequence[Branch[R]], ask: Ask) -> list[R]:
    """Results in the order of the branches, up to and including the first that passes."""
    return await (each(branches, ask) if ask.exhaustive else _Search(branches, ask, settles=True).run())


async def every(branches: Sequence[Branch[R]], ask: Ask) -> list[R]:
    """Results of branches that must all pass, up to one that does not. Their order is free: `ask` chooses it."""
    return await (each(branches, ask) if ask.exhaustive else _Search(branches, ask, settles=False).run())


async def each(branches: Sequence[Branch[R]], ask: Ask) -> list[R]:
    """Results of all branches, side by side; those that the journal knows run first and in place."""
    entries = [_Entry(branch, ask.under(None)) for branch in branches]
    for entry in entries:
        if ask.known(entry.branch):
            await entry.run()
    tasks = [asyncio.create_task(entry.run()) for entry in entries if entry.result is None]
    try:
        for task in tasks:
            await task
    finally:
        _drop(tasks)
    for entry in entries:
        entry.teach(ask)
    return [entry.result for entry in entries if entry.result is not None]


class _Entry(Generic[R]):
    """A branch that was started: in place, or as a task of its own."""

    def __init__(self, branch: Branch[R], ask: Ask) -> None:
        self.branch = branch
        self.ask = ask
        self.task: asyncio.Task[R] | None = None
        self.result: R | None = None

    async def run(self) -> R:
        self.result = await self.branch.run(self.ask)
        return self.result

    def teach(self, ask: Ask) -> None:
        assert self.result is not None
        ask.learn(self.branch, self.result.passed, self.ask.spent)

    def chance_to_pass(self, ask: Ask) -> float:
        if self.result is not None:
            return float(self.result.passed)
        return self.ask.forecast() if self.ask.forecast else ask.outlook(self.branch)


class _Search(Generic[R]):
    """Branches in order until one settles: `settles` True looks for a pass (`first`), False for a failure (`every`).

    A pass settles only when all before it have failed, since the first by order is wanted. A failure settles at once,
    whichever branch it comes from, since every branch must pass; so there the order is free.
    """

    def __init__(self, branches: Sequence[Branch[R]], ask: Ask, settles: bool) -> None:
        self.branches = branches
        self.waiting = list(branches)
        self.started: list[_Entry[R]] = []
        self.done: list[_Entry[R]] = []
        self.ask = ask
        self.settles = settles
        self.ordered = settles
        ask.forecast = self.chance_to_pass

    async def run(self) -> list[R]:
        try:
            while self.waiting or self.started:
                entry = await self._next()
                entry.teach(self.ask)
                self.done.append(entry)
                assert entry.result is not None
                if entry.result.passed is self.settles:
                    break
        finally:
            self.ask.withdraw(self)
            self._discard(self.started)
        place = {branch.path: number for number, branch in enumerate(self.branches)}
        self.done.sort(key=lambda entry: place[entry.branch.path])
        return [entry.result for entry in self.done if entry.result is not None]

    async def _next(self) -> _Entry[R]:
        """The next entry whose result counts; starts one when none is under way."""
        entry = self.started[0] if self.started else self._begin(None)
        if self.waiting:
            self.ask.offer(self)
        if entry.task is None:
            in_place = not self.ask.idle or self.ask.known(entry.branch)
            if in_place:
                await entry.run()
            else:
                entry.task = asyncio.create_task(entry.run())
        while (ready := self._ready()) is None:
            running = [e.task for e in self.started if e.task and not e.task.done()]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        self.started.remove(ready)
        return ready

    def _ready(self) -> _Entry[R] | None:
        for number, entry in enumerate(self.started):
            if entry.task and entry.task.done():
                entry.task.result()
            if entry.result is not None:
                if not self.ordered or number == 0:
                    return entry
                if entry.result.passed is self.settles:
                    self._forget_after(number)
                    return None
        return None

    def _forget_after(self, number: int) -> None:
        """A later branch has settled unless an earlier one does: nothing after it can matter."""
        self.waiting.clear()
        self.ask.withdraw(self)
        self._discard(self.started[number + 1 :])
        del self.started[number + 1 :]

    def _discard(self, entries: Sequence[_Entry[R]]) -> None:
        for entry in entries:
            entry.ask.discard()
        _drop([entry.task for entry in entries if entry.task])

    def _begin(self, chance: Callable[[], float] | None) -> _Entry[R]:
        index = 0 if self.ordered else self.ask.choose(self.waiting)
        entry = _Entry(self.waiting.pop(index), self.ask.under(chance))
        self.started.append(entry)
        if not self.waiting:
            self.ask.withdraw(self)
        return entry

    # What the gate sees: an Offer.

    def chance(self) -> float:
        """That all that is under way leaves the outcome open, so that the next branch is needed."""
        return self._left_open(self.started)

    def start(self) -> None:
        entry: _Entry[R]
        entry = self._begin(lambda: self._needed(entry))
        entry.task = self.ask.early(entry.run())

    def _needed(self, entry: _Entry[R]) -> float:
        return self._left_open(self.started[: self.started.index(entry)]) if entry in self.started else 0.0

    def chance_to_pass(self) -> float:
        """Of the whole: that one branch passes (`first`), or that all still open ones do (`every`)."""
        left = self._left_open(self.started)
        for branch in self.waiting:
            left *= self._open_chance(self.ask.outlook(branch))
        return 1.0 - left if self.settles else left

    def _left_open(self, entries: Sequence[_Entry[R]]) -> float:
        chance = 1.0
        for entry in entries:
            chance *= self._open_chance(entry.chance_to_pass(self.ask))
        return chance

    def _open_chance(self, passing: float) -> float:
        return 1.0 - passing if self.settles else passing


def _drop(tasks: Sequence[asyncio.Task[T]]) -> None:
    """Cancel tasks that no longer matter; whatever they end with is nobody's business."""
    for task in tasks:
        if not task.done():
            task.cancel()
        task.add_done_callback(_ignore)


def _ignore(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()
