"""The one path to a model: journal → gate → engine → journal.

Every call, whether it generates, judges or answers an exam, is a `Request` with an identity. What the journal knows is
returned at once, without a task or another thread; everything else waits its turn at the gate, goes to the engine and
is on disk before its reply is parsed. So a run that was killed is started again with the same command, replays the
algorithm and asks only for the rest. `Asker` serves a whole run, `UnitAsk` one branch of one question or problem.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal, Protocol, TypeVar

from veridistill.calls.crew import Crew
from veridistill.calls.forecast import Forecast
from veridistill.calls.gate import Gate, Need
from veridistill.calls.journal import Entry
from veridistill.calls.meter import Meter
from veridistill.calls.unit import Unit, UnitAsk, reply_of
from veridistill.engines.base import Engine, EngineStats
from veridistill.lazy import Call
from veridistill.records import JUDGING, Completion, Messages, Path, Request, Sampling

T = TypeVar("T")
R = TypeVar("R")


class Policy(Protocol):
    """How to ask (`config.BuildSection`); none of it changes what is found."""

    @property
    def asks(self) -> str: ...

    @property
    def order(self) -> str: ...

    @property
    def audit_share(self) -> float: ...


class Replies(Protocol):
    """Where replies are kept: `journal.Journal`, or a stand-in for one."""

    async def replies(self, unit: str) -> dict[bytes, Entry]: ...

    async def with_ids(self, unit: str, role: str) -> dict[bytes, Entry]: ...

    async def append(self, entry: Entry) -> None: ...

    def note(self, entry: Entry) -> None: ...


class Asker:
    """Everything that the calls of one run share.

    `judge`: the engine that answers the roles of a judge; default: the same one, the pure setting. `width`: whether the
    gate's width follows the engines' capacity. `max_tokens`: `new_tokens` after which the run stops with
    `BudgetReached`. `keep_ids`: roles whose token ids are journalled.
    `known`: whether replies in the journal are asked for first, so that a resumed run does not pay twice, or in their
    turn, so that a replay measures what a policy would have cost.
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
        known: Literal["first", "in_turn"] = "first",
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
        self._known = known
        self.meter = meter or Meter()
        self.forecast: Forecast | None = None
        self._cancelled_before = self._cancelled()

    @property
    def window(self) -> int:
        """Units open at once."""
        return self._window or 4 * self.gate.width

    def engine_for(self, role: str) -> Engine:
        """The engine that answers a role."""
        return self.engine if self._judge is None or role not in JUDGING else self._judge

    def model(self, role: str) -> str:
        """The fingerprint of the engine that answers a role."""
        return self.engine_for(role).fingerprint

    @property
    def new_tokens(self) -> int:
        """Tokens that this process spent: prompts and replies, and what was generated for cancelled calls."""
        return self.meter.new_tokens + self._cancelled() - self._cancelled_before

    @property
    def counts(self) -> tuple[EngineStats, EngineStats]:
        """What the engine counted since it was started, and a judge that has an engine of its own."""
        return self.engine.stats(), self._judge.stats() if self._judge is not None else EngineStats()

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
            seen = known.values() if self._known == "first" else ()
            # A vote is not known by its first call alone: an early vote may have been cancelled after it.
            votes = (e for e in seen if e.role not in ("infer", "reference"))
            paths = frozenset(e.path[:4] for e in votes if e.model == self.model(e.role))
            unit = Unit(name, rank, exhaustive, known, paths)
            with self._followed(unit):
                yield UnitAsk(self, unit, Need())
        finally:
            self.gate.close_unit()

    @contextmanager
    def _followed(self, unit: Unit) -> Iterator[None]:
        """Let the forecast, if there is one, see what the unit takes; one that fails stays open there."""
        if (forecast := self.forecast) is None:
            yield
            return
        unit.course = forecast.opened(unit.exhaustive)
        yield
        forecast.closed(unit.course)

    def request(self, role: str, path: Path, messages: Messages, sampling: Sampling) -> Request:
        """The call with its identity in this run."""
        return Request(self.run_seed, self.model(role), role, path, messages, sampling)

    async def answered(self, unit: str, role: str) -> Call:
        """Read again what a unit was answered in one role, with token ids. The `Call` asks no engine."""
        known = await self.journal.with_ids(unit, role)

        async def call(role: str, path: Path, messages: Messages, sampling: Sampling) -> Completion:
            return reply_of(known[self.request(role, path, messages, sampling).key])

        return call

    def _outgrown(self, entry: Entry) -> bool:
        """Whether a reply was cut or refused at a shorter context than its engine has now: it is asked again."""
        cut, now = entry.completion.context, self.engine_for(entry.role).context_length
        return cut is not None and now is not None and now > cut

    async def map_units(
        self,
        items: Iterable[T],
        unit: Callable[[T], str],
        work: Callable[[T, "UnitAsk"], Awaitable[R]],
        most_open: Callable[[], int] | None = None,
    ) -> AsyncGenerator[R, None]:
        """Results of `work` in the order of the items, a window of which is open: memory does not grow with the run.

        At most `window` units are open, and none is opened more than 8 windows after the oldest open one. `most_open`,
        asked before each, may allow fewer; the oldest is open in any case.
        """

        async def one(item: T) -> R:
            async with self.unit(unit(item)) as ask:
                return await work(item, ask)

        def full() -> bool:
            most = self.window if most_open is None else min(self.window, most_open())
            return crew.open >= most or len(crew.tasks) >= 8 * self.window

        crew = Crew[R]()
        try:
            for item in items:
                while crew.tasks and full():
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
