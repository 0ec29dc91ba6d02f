"""The combinators that carry all of the laziness: `first`, `every` and `each`. Standard library only.

A branch is a piece of work that may or may not turn out to be needed. The method writes its branches down as if all
of them were asked; a branch is *started, or never created*. `first` and `every` run their branches in order and stop
at the one that settles the outcome: the first that passes, or the first that does not. Meanwhile the next branch is on
`offer`: while the engine has idle slots, the gate may start it early. An early branch runs with a live chance of being
needed. As soon as the outcome is settled, all branches that still run are cancelled, the current one included. Under an
`ask` that is exhaustive, every branch runs. Laziness changes what is asked, never the result.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from veridistill.records import Completion, Messages, Path, Sampling


class Result(Protocol):
    """What a branch returns: something that passed or did not."""

    @property
    def passed(self) -> bool: ...


R = TypeVar("R", bound=Result)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Branch(Generic[R]):
    """Work on one outcome. Learned rates are kept by `label`; `path` is the start of its requests' paths."""

    label: str
    path: Path
    run: Callable[["Ask"], Awaitable[R]]


class Offer(Protocol):
    """Work that could start early: the gate reads `chance` while a slot is idle, and calls `start` to begin it."""

    def chance(self) -> float: ...

    def start(self) -> None: ...


class Call(Protocol):
    """Makes a request and returns the reply."""

    async def __call__(self, role: str, path: Path, messages: Messages, sampling: Sampling) -> Completion:
        """Raises `RequestRefused` when the engine refuses this request alone."""
        ...


class Ask(Call, Protocol):
    """The access to a model that one branch has."""

    forecast: Callable[[], float] | None
    """The live chance that the search running under this `Ask` passes; None while none runs."""

    @property
    def spent(self) -> int:
        """Completion tokens of the replies that came through this `Ask` and those under it."""
        ...

    @property
    def exhaustive(self) -> bool:
        """Ask everything, even what can no longer affect the result."""
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
        """Report that the replies that came through this `Ask` turned out not to be needed."""
        ...

    def early(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work that is not needed yet as a task, counted as such until it ends."""
        ...


async def first(branches: Sequence[Branch[R]], ask: Ask) -> list[R]:
    """Results in the order of the branches, up to and including the first that passes."""
    return await (each(branches, ask) if ask.exhaustive else _UntilPass(branches, ask).run())


async def every(branches: Sequence[Branch[R]], ask: Ask) -> list[R]:
    """Results of branches that must all pass, up to one that does not. Their order is free: `ask` chooses it."""
    return await (each(branches, ask) if ask.exhaustive else _UntilFailure(branches, ask).run())


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
        for task in tasks:
            _drop(task)
    for entry in entries:
        entry.teach(ask)
    return [entry.result for entry in entries if entry.result is not None]


class _Entry(Generic[R]):
    """A branch that was started: in the caller's task, or early in a separate task."""

    __slots__ = ("ask", "branch", "result", "task")

    def __init__(self, branch: Branch[R], ask: Ask) -> None:
        self.branch = branch
        self.ask = ask
        self.task: asyncio.Task[None] | None = None
        self.result: R | None = None

    async def run(self) -> None:
        self.result = await self.branch.run(self.ask)

    def teach(self, ask: Ask) -> None:
        assert self.result is not None
        ask.learn(self.branch, self.result.passed, self.ask.spent)

    def chance_to_pass(self, ask: Ask) -> float:
        if self.result is not None:
            return float(self.result.passed)
        return self.ask.forecast() if self.ask.forecast else ask.outlook(self.branch)

    def discard(self) -> None:
        """Cancel what is no longer needed. The task is released, since its error would refer back to this entry."""
        self.ask.discard()
        if self.task is not None:
            _drop(self.task)
            self.task = None


class _Search(Generic[R]):
    """Branches in order until one settles the outcome.

    The current branch runs in the caller's own task, early ones in separate tasks. No cycle of references outlives the
    search: with a large heap collections are rare, and each question would keep its replies until the next one.
    """

    ordered: ClassVar[bool]
    """Whether a branch can settle the outcome only once all before it have ended."""

    def __init__(self, branches: Sequence[Branch[R]], ask: Ask) -> None:
        self.branches = branches
        self.waiting = list(branches)
        self.started: list[_Entry[R]] = []
        self.ask = ask
        # The caller's task; in no local variable, since the error of a cancelled task refers to its frames.
        self._host: asyncio.Task[Any] | None = None
        self._place: Literal["waits", "runs", "cut"] = "waits"
        ask.forecast = self.chance_to_pass

    def settles(self, passed: bool) -> bool:
        raise NotImplementedError

    def open_chance(self, passing: float) -> float:
        """The chance that a branch leaves the outcome open, from that of its passing."""
        raise NotImplementedError

    def chance_to_pass(self) -> float:
        """The chance that the search passes."""
        raise NotImplementedError

    async def run(self) -> list[R]:
        done: list[_Entry[R]] = []
        self._host = asyncio.current_task()
        try:
            while self.waiting or self.started:
                entry = await self._next()
                entry.teach(self.ask)
                done.append(entry)
                assert entry.result is not None
                if self.settles(entry.result.passed):
                    break
        finally:
            self.ask.withdraw(self)
            self.ask.forecast = self._host = None
            self._discard_from(0)
        if not self.ordered and len(done) > 1:
            place = {branch.path: number for number, branch in enumerate(self.branches)}
            done.sort(key=lambda entry: place[entry.branch.path])
        return [entry.result for entry in done if entry.result is not None]

    async def _next(self) -> _Entry[R]:
        """The next entry whose result counts; starts one when none is under way."""
        entry = self.started[0] if self.started else self._begin(None)
        if self.waiting:
            self.ask.offer(self)
        if entry.task is None:
            await self._in_place(entry)
        while (ready := self._ready()) is None:
            running = [e.task for e in self.started if e.task and not e.task.done()]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        self.started.remove(ready)
        return ready

    async def _in_place(self, entry: _Entry[R]) -> None:
        """Run a branch in the caller's task, until it ends or `_ended` cuts it; as `asyncio.timeout` does it."""
        assert self._host is not None
        cancels, self._place = self._host.cancelling(), "runs"
        try:
            await entry.run()
        except asyncio.CancelledError:
            if not self._only_cut(self._host, cancels):
                raise
        finally:
            self._place = "waits"

    def _only_cut(self, host: asyncio.Task[Any], cancels: int) -> bool:
        """Whether a cancellation came from `_ended` alone; `cancels`: how many the caller's task had before."""
        return self._place == "cut" and host.uncancel() <= cancels

    def _ended(self, entry: _Entry[R], task: asyncio.Task[None]) -> None:
        """An early branch ended: if that settles the outcome, branches that no longer matter are cancelled."""
        if task.cancelled() or entry not in self.started:
            return
        failed = task.exception() is not None
        if not failed and (entry.result is None or not self.settles(entry.result.passed)):
            return
        if self.ordered and not failed:
            self.waiting.clear()
            self.ask.withdraw(self)
            self._discard_from(self.started.index(entry) + 1)
        elif self._host is not None and self._place == "runs":
            self._place = "cut"
            self._host.cancel()

    def _ready(self) -> _Entry[R] | None:
        for entry in self.started:
            if entry.task and entry.task.done():
                entry.task.result()
        return next(
            (one for one in self.started[: 1 if self.ordered else None] if one.result is not None), None
        )

    def _discard_from(self, number: int) -> None:
        for entry in self.started[number:]:
            entry.discard()
        del self.started[number:]

    def _begin(self, chance: Callable[[Branch[R]], float] | None) -> _Entry[R]:
        branch = self.waiting.pop(0 if self.ordered else self.ask.choose(self.waiting))
        entry = _Entry(branch, self.ask.under(None if chance is None else partial(chance, branch)))
        self.started.append(entry)
        if not self.waiting:
            self.ask.withdraw(self)
        return entry

    # What the gate sees: an Offer.

    def chance(self) -> float:
        """The chance that all started branches leave the outcome open, so that the next one is needed."""
        return self._left_open(self.started)

    def start(self) -> None:
        entry = self._begin(self._needed)
        entry.task = self.ask.early(entry.run())
        entry.task.add_done_callback(partial(self._ended, entry))

    def _needed(self, branch: Branch[R]) -> float:
        chance = 1.0
        for entry in self.started:
            if entry.branch is branch:
                return chance
            chance *= self.open_chance(entry.chance_to_pass(self.ask))
        return 0.0

    def _left_open(self, entries: Sequence[_Entry[R]]) -> float:
        chance = 1.0
        for entry in entries:
            chance *= self.open_chance(entry.chance_to_pass(self.ask))
        return chance

    def _stays_open(self) -> float:
        left = self._left_open(self.started)
        for branch in self.waiting:
            left *= self.open_chance(self.ask.outlook(branch))
        return left


class _UntilPass(_Search[R]):
    """`first`: a pass settles the outcome, but only when all branches before it have failed."""

    ordered = True

    def settles(self, passed: bool) -> bool:
        return passed

    def open_chance(self, passing: float) -> float:
        return 1.0 - passing

    def chance_to_pass(self) -> float:
        return 1.0 - self._stays_open()


class _UntilFailure(_Search[R]):
    """`every`: any failure settles the outcome, since every branch must pass; so the order is free."""

    ordered = False

    def settles(self, passed: bool) -> bool:
        return not passed

    def open_chance(self, passing: float) -> float:
        return passing

    def chance_to_pass(self) -> float:
        return self._stays_open()


def _drop(task: asyncio.Task[T]) -> None:
    """Cancel a task that no longer matters; its result or error is discarded."""
    if not task.done():
        task.cancel()
    task.add_done_callback(_ignore)


def _ignore(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()
