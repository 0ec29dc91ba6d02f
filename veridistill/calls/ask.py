"""The one path to a model: journal → gate → engine → journal.

Every call, whether it generates, judges or answers an exam problem, is a `Request` with an identity. A reply that the
journal has is returned at once, without a task or a change of thread; every other call waits for its turn at the gate,
goes to the engine, and its reply is on disk before it is parsed. So a run that was killed is started again with the
same command: it replays the algorithm and asks only for the rest. `Asker` serves one run, `UnitAsk` one branch of one
question or problem.
"""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Generic, Literal, Protocol, TypeVar

from veridistill.calls.gate import Gate, Need
from veridistill.calls.journal import Entry, Status
from veridistill.engines.base import Engine
from veridistill.errors import BudgetReached, RequestRefused
from veridistill.lazy import Branch, Call, Offer, Result
from veridistill.records import JUDGING, Completion, Messages, Path, Request, Sampling, without_surrogates

T = TypeVar("T")
R_out = TypeVar("R_out")
R = TypeVar("R", bound=Result)


class Policy(Protocol):
    """How to ask; none of it changes what is found."""

    @property
    def asks(self) -> str: ...

    @property
    def order(self) -> str: ...

    @property
    def audit_share(self) -> float: ...


class Replies(Protocol):
    """Where replies are kept: `journal.Journal`, or what stands in for one."""

    async def replies(self, unit: str) -> dict[bytes, Entry]: ...

    async def with_ids(self, unit: str, role: str) -> dict[bytes, Entry]: ...

    async def append(self, entry: Entry) -> None: ...

    def note(self, entry: Entry) -> None: ...


@dataclass
class Meter:
    """Replies used in this process, by role. `hits` counts those that were in the journal when their unit was opened.

    A reply that several branches of a unit share is counted once. `new_tokens` are prompt and completion tokens of the
    engine's replies in this process, `unneeded_tokens` completion tokens of early replies that turned out not to be
    needed.
    """

    calls: dict[str, int] = field(default_factory=dict)
    prompt_tokens: dict[str, int] = field(default_factory=dict)
    completion_tokens: dict[str, int] = field(default_factory=dict)
    hits: int = 0
    new_tokens: int = 0
    unneeded_tokens: int = 0

    def copy(self) -> "Meter":
        return self.since(Meter())

    def since(self, before: "Meter") -> "Meter":
        """What was counted after the copy `before` was made."""
        return Meter(
            _difference(self.calls, before.calls),
            _difference(self.prompt_tokens, before.prompt_tokens),
            _difference(self.completion_tokens, before.completion_tokens),
            self.hits - before.hits,
            self.new_tokens - before.new_tokens,
            self.unneeded_tokens - before.unneeded_tokens,
        )

    def count(self, role: str, reply: Completion) -> None:
        self.calls[role] = self.calls.get(role, 0) + 1
        self.prompt_tokens[role] = self.prompt_tokens.get(role, 0) + reply.prompt_tokens
        self.completion_tokens[role] = self.completion_tokens.get(role, 0) + reply.completion_tokens


def _difference(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {role: num - before.get(role, 0) for role, num in now.items()}


class Asker:
    """Everything that the calls of one run share.

    `judge`: the engine for the roles of a judge; default: the same engine, as in the paper. `width`: whether the
    gate's width follows the engines' capacity. `max_tokens`: `new_tokens` after which the run stops with
    `BudgetReached`. `keep_ids`: roles whose token ids are journalled.
    `foresight`: whether the order of the asks may depend on what the journal holds; without it a replay measures what
    a policy would have cost.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Replies,
        gate: Gate,
        policy: Policy,
        *,
        run_seed: int,
        judge: Engine | None = None,
        width: Literal["fixed", "engine"] = "fixed",
        max_tokens: int | None = None,
        window: int | None = None,
        keep_ids: frozenset[str] = frozenset({"solve"}),
        foresight: bool = True,
        meter: Meter | None = None,
    ) -> None:
        self.engine = engine
        self.journal = journal
        self.gate = gate
        self.policy = policy
        self.run_seed = run_seed
        self._judge = judge
        self._width = width
        self.max_tokens = max_tokens
        self._window = window
        self.keep_ids = keep_ids
        self.foresight = foresight
        self.meter = meter or Meter()
        self._cancelled_before = self._cancelled()

    @property
    def window(self) -> int:
        """Units open at once."""
        return self._window or 4 * self.gate.width

    def engine_for(self, role: str) -> Engine:
        """The engine that answers a role."""
        return self.engine if self._judge is None or role not in JUDGING else self._judge

    def model(self, role: str) -> str:
        """The fingerprint of the model that answers a role."""
        return self.engine_for(role).fingerprint

    @property
    def new_tokens(self) -> int:
        """Tokens that this process spent: prompts and replies, and what was generated for cancelled calls."""
        return self.meter.new_tokens + self._cancelled() - self._cancelled_before

    def _cancelled(self) -> int:
        judge = self._judge.stats().cancelled_tokens if self._judge is not None else 0
        return self.engine.stats().cancelled_tokens + judge

    def adapt(self) -> None:
        """Let the gate follow the engines."""
        if self._width == "engine":
            more = self._judge.capacity if self._judge is not None else 0
            self.gate.resize(max(self.engine.capacity + more, 1))

    @asynccontextmanager
    async def unit(self, name: str) -> AsyncIterator["UnitAsk"]:
        """Open a question or problem: its known replies are fetched at once."""
        found = await self.journal.replies(name)
        known = {key: entry for key, entry in found.items() if not self._outgrown(entry)}
        rank = self.gate.open_unit()
        try:
            exhaustive = self.policy.asks == "exhaustive" or audited(name, self.policy.audit_share)
            seen = known.values() if self.foresight else ()
            # An inference without its comparison is not a known vote: an early vote may have been cut between the two.
            paths = frozenset(e.path[:4] for e in seen if e.role != "infer" and e.model == self.model(e.role))
            yield UnitAsk(self, _Unit(name, rank, exhaustive, known, paths), Need())
        finally:
            self.gate.close_unit()

    def request(self, role: str, path: Path, messages: Messages, sampling: Sampling) -> Request:
        """The call with its identity in this run."""
        return Request(self.run_seed, self.engine_for(role).fingerprint, role, path, messages, sampling)

    async def answered(self, unit: str, role: str) -> Call:
        """Read a unit's replies in one role again, with the token ids that were kept; makes no call."""
        known = await self.journal.with_ids(unit, role)

        async def call(role: str, path: Path, messages: Messages, sampling: Sampling) -> Completion:
            return _reply(known[self.request(role, path, messages, sampling).key])

        return call

    def _outgrown(self, entry: Entry) -> bool:
        """Whether a reply was cut or refused at a shorter context than its engine has now: it is asked again."""
        cut, now = entry.completion.context, self.engine_for(entry.role).context_length
        return cut is not None and now is not None and now > cut

    async def map_units(
        self, items: Iterable[T], unit: Callable[[T], str], work: Callable[[T, "UnitAsk"], Awaitable[R_out]]
    ) -> AsyncGenerator[R_out, None]:
        """Results of `work` in the order of the items, with a window of them open: memory does not grow with the run.

        At most `window` units are open, and none is opened more than 8 windows after the oldest open one.
        """

        async def one(item: T) -> R_out:
            async with self.unit(unit(item)) as ask:
                return await work(item, ask)

        crew = _Crew[R_out]()
        try:
            for item in items:
                while crew.open >= self.window or len(crew.tasks) >= 8 * self.window:
                    await crew.change()
                    for result in crew.finished():
                        yield result
                crew.start(one(item))
            while crew.tasks:
                for result in crew.finished():
                    yield result
                if crew.tasks:
                    await crew.change()
        finally:
            await crew.stop()


def audited(unit: str, share: float) -> bool:
    """Whether a unit belongs to the audit share, which is asked exhaustively: chosen by hash, known beforehand."""
    return (
        share > 0
        and int.from_bytes(Request(0, "", "audit", (unit,), (), _NO_SAMPLING).key[:4], "big") < share * 2**32
    )


_NO_SAMPLING = Sampling(0, 0, 0, 0)


@dataclass(slots=True)
class _Unit:
    """One open question: its rank among the open ones, and its known replies by key.

    `paths` are those of the branches that the journal knew when it was opened. The other sets hold keys: of calls that
    wait for a reply, of replies that were counted, and of replies that the engine gave in this process.
    """

    name: str
    rank: int
    exhaustive: bool
    known: dict[bytes, Entry]
    paths: frozenset[Path]
    running: dict[bytes, asyncio.Event | None] = field(default_factory=dict)
    used: set[bytes] = field(default_factory=set)
    asked: set[bytes] = field(default_factory=set)

    async def answered(self, key: bytes) -> None:
        """Wait for a call that another branch is making; this is rare, so the event is made only then."""
        if (event := self.running[key]) is None:
            event = self.running[key] = asyncio.Event()
        await event.wait()


class UnitAsk:
    """`lazy.Ask` for one branch of one unit."""

    __slots__ = ("_asker", "_discarded", "_need", "_parent", "_spent", "_unit", "forecast")

    def __init__(self, asker: Asker, unit: _Unit, need: Need, parent: "UnitAsk | None" = None) -> None:
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
            self._asker.meter.count(entry.role, entry.completion)
            self._asker.meter.hits += entry.key not in self._unit.asked
        ask: UnitAsk | None = self
        while ask is not None:
            ask._spent += entry.completion.completion_tokens
            ask = ask._parent
        return _reply(entry)

    async def _fetch(self, request: Request) -> None:
        """Ask the engine and journal the result."""
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
                asker.journal.note(self._entry(request, "cancelled", Completion("", "cancelled", 0, 0)))
                raise
            # The slot is held until the reply is on disk: after a kill at most the gate's width of calls is repeated.
            asker.meter.new_tokens += reply.prompt_tokens + reply.completion_tokens
            # Ids are kept only on disk: in memory an open question holds only its replies' texts.
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
                f"limits.tokens of {limit} reached ({used} new tokens); raise it and run again to resume"
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
        """Known ones first; then in the paper's order, or by the highest chance of rejection per token."""
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
        self._asker.gate.learn(branch.label, passed, spent)

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


class _Crew(Generic[R_out]):
    """Tasks whose results are taken in the order in which they were started."""

    def __init__(self) -> None:
        self.tasks: deque[asyncio.Task[R_out]] = deque()
        self.open = 0
        self._changed = asyncio.Event()
        self._failed: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, R_out]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._done)
        self.tasks.append(task)
        self.open += 1

    def _done(self, task: asyncio.Task[R_out]) -> None:
        self.open -= 1
        if not task.cancelled() and task.exception() is not None:
            self._failed = self._failed or task.exception()
        self._changed.set()

    async def change(self) -> None:
        """Wait until a task has ended; raises the first error of any."""
        await self._changed.wait()
        self._changed.clear()
        if self._failed is not None:
            raise self._failed

    def finished(self) -> Iterator[R_out]:
        while self.tasks and self.tasks[0].done():
            yield self.tasks.popleft().result()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def _reply(entry: Entry) -> Completion:
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
