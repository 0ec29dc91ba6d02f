"""One open question or problem: `lazy.Ask` for its branches, the replies known of it, and each call on its way.

A call that the journal knows is answered at once. Any other waits for a slot of the gate, goes to the engine, and is on
disk before its reply is used. `Asker` opens and closes units.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from veridistill.calls.forecast import Course
from veridistill.calls.gate import Need
from veridistill.calls.journal import Entry, Status
from veridistill.errors import BudgetReached, RequestRefused
from veridistill.lazy import Branch, Offer, Result
from veridistill.records import Completion, Messages, Path, Request, Sampling, without_surrogates

if TYPE_CHECKING:
    from veridistill.calls.ask import Asker

T = TypeVar("T")
R = TypeVar("R", bound=Result)
_REASK = 4
"""The place in a vote's path that counts how often it was asked again."""


@dataclass(slots=True)
class Unit:
    """One open question: its rank among the open ones, and the replies known of it by key.

    `paths` are those of the branches that the journal knew when it was opened. The others hold keys: of calls that wait
    for a reply, of replies that were counted, and of replies that the engine gave in this process.
    """

    name: str
    rank: int
    exhaustive: bool
    known: dict[bytes, Entry]
    paths: frozenset[Path]
    running: dict[bytes, asyncio.Event | None] = field(default_factory=dict)
    used: set[bytes] = field(default_factory=set)
    asked: set[bytes] = field(default_factory=set)
    course: Course | None = None

    async def answered(self, key: bytes) -> None:
        """Wait for a call that another branch is making; such calls are rare, so they alone cost an event."""
        if (event := self.running[key]) is None:
            event = self.running[key] = asyncio.Event()
        await event.wait()


class UnitAsk:
    """`lazy.Ask` for one branch of one unit."""

    __slots__ = ("_asker", "_discarded", "_need", "_parent", "_spent", "_unit", "forecast")

    def __init__(self, asker: "Asker", unit: Unit, need: Need, parent: "UnitAsk | None" = None) -> None:
        self._asker = asker
        self._unit = unit
        self._need = need
        self._parent = parent
        self._spent = 0
        self._discarded = 0
        self.forecast: Callable[[], float] | None = None

    async def __call__(self, role: str, path: Path, messages: Messages, sampling: Sampling) -> Completion:
        asker, unit = self._asker, self._unit
        request = asker.request(role, path, messages, sampling)
        key = request.key
        while (entry := unit.known.get(key)) is None:
            if key in unit.running:
                await unit.answered(key)
                continue
            unit.running[key] = None
            try:
                await self._fetch(request)
            finally:
                if (others := unit.running.pop(key)) is not None:
                    others.set()
        return self._use(entry)

    def _use(self, entry: Entry) -> Completion:
        if entry.key not in self._unit.used:
            self._unit.used.add(entry.key)
            self._count(entry)
        ask: UnitAsk | None = self
        while ask is not None:
            ask._spent += entry.completion.completion_tokens
            ask = ask._parent
        return reply_of(entry)

    def _count(self, entry: Entry) -> None:
        asker, unit, path = self._asker, self._unit, entry.path
        asker.meter.count(entry.role, entry.completion)
        asker.meter.hits += entry.key not in unit.asked
        if len(path) > _REASK and path[_REASK]:
            asker.meter.reasks += 1
        if unit.course is not None and asker.forecast is not None:
            asker.forecast.use(unit.course, path[1])

    async def _fetch(self, request: Request) -> None:
        """Ask the engine and journal what came of it."""
        asker, unit = self._asker, self._unit
        async with asker.gate.slot(self._need, unit.rank):
            self._check_budget()
            try:
                engine = asker.engine_for(request.role)
                reply = _storable(await engine.generate(request.messages, request.sampling, request.seed))
                status: Status = "ok"
            except RequestRefused as refusal:
                said = without_surrogates(str(refusal))
                reply, status = Completion(said, "refused", 0, 0, context=refusal.context), "refused"
            except asyncio.CancelledError:
                asker.meter.cancelled += 1
                asker.journal.note(self._entry(request, "cancelled", Completion("", "cancelled", 0, 0)))
                raise
            # The slot is held until the reply is on disk: a kill repeats at most a gate's width of calls.
            asker.meter.answered += 1
            asker.meter.new_tokens += reply.prompt_tokens + reply.completion_tokens
            # Ids go to disk and no further: an open question holds its replies' texts alone.
            known = self._entry(request, status, _without_ids(reply))
            whole = self._entry(request, status, reply) if request.role in asker.keep_ids else known
            await asker.journal.append(whole)
        unit.known[request.key] = known
        unit.asked.add(request.key)
        asker.adapt()

    def _entry(self, request: Request, status: Status, reply: Completion) -> Entry:
        return Entry(self._unit.name, request.model, request.key, status, request.role, request.path, reply)

    def _check_budget(self) -> None:
        limit = self._asker.max_tokens
        if limit is not None and (used := self._asker.new_tokens) >= limit:
            raise BudgetReached(
                f"limits.tokens of {limit} reached ({used} new tokens); raise it and run again to go on"
            )

    # What the combinators ask of it.

    @property
    def spent(self) -> int:
        return self._spent

    @property
    def exhaustive(self) -> bool:
        return self._unit.exhaustive

    def under(self, chance: Callable[[], float] | None) -> "UnitAsk":
        return UnitAsk(self._asker, self._unit, self._need.under(chance), self)

    def choose(self, branches: Sequence[Branch[R]]) -> int:
        """Known ones first; then the paper's order, or the best chance to reject per token."""
        if self._unit.paths:
            for number, branch in enumerate(branches):
                if self.known(branch):
                    return number
        if self._asker.policy.order == "paper":
            return 0
        rate = self._asker.gate.rate
        next_votes: dict[str, int] = {}
        for number, branch in enumerate(branches):
            next_votes.setdefault(_stage(branch.label), number)
        return max(next_votes.values(), key=lambda number: rate(branches[number].label).rejections_per_token)

    def outlook(self, branch: Branch[R]) -> float:
        return self._asker.gate.rate(branch.label).passing

    def learn(self, branch: Branch[R], passed: bool, spent: int) -> None:
        asker, course = self._asker, self._unit.course
        asker.gate.learn(branch.label, passed, spent)
        if course is not None and asker.forecast is not None and branch.label == asker.forecast.work.label:
            asker.forecast.turn(course, branch.path[1], passed)

    def known(self, branch: Branch[R]) -> bool:
        return branch.path in self._unit.paths

    def offer(self, work: Offer) -> None:
        self._asker.gate.offer(self._need, work)

    def withdraw(self, work: Offer) -> None:
        self._asker.gate.withdraw(work)

    def discard(self) -> None:
        tokens = self._spent - self._discarded
        self._asker.meter.unneeded_tokens += tokens
        ask: UnitAsk | None = self
        while ask is not None:
            ask._discarded += tokens
            ask = ask._parent

    def early(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        gate = self._asker.gate
        task = asyncio.create_task(work)
        gate.early(1)
        task.add_done_callback(lambda _: gate.early(-1))
        return task


@lru_cache(maxsize=1024)
def _stage(label: str) -> str:
    """The stage of a vote, whose label is the stage and the vote's place therein."""
    return label.partition(".")[0]


def reply_of(entry: Entry) -> Completion:
    """The reply itself. Raises `RequestRefused` for a refused request."""
    if entry.status == "refused":
        raise RequestRefused(entry.completion.text)
    return entry.completion


def _without_ids(reply: Completion) -> Completion:
    counts = reply.prompt_tokens, reply.completion_tokens
    return Completion(reply.text, reply.finish_reason, *counts, context=reply.context)


def _storable(reply: Completion) -> Completion:
    """Lone surrogates, which no file or database takes, become U+FFFD."""
    text = without_surrogates(reply.text)
    return reply if text is reply.text else replace(reply, text=text)
