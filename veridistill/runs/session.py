"""One process at work on a run, and the one path to its models: engines, gate and journal, opened and closed together.

`pipeline` decides what is asked on that path.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from veridistill import prompts
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.calls.meter import Meter
from veridistill.calls.replay import NoEngine
from veridistill.cascade import Jury
from veridistill.config import Config, EngineSection, ModelSection
from veridistill.data.rundir import RunDir
from veridistill.data.seeds import Seeds
from veridistill.engines import model_directory, open_engine
from veridistill.engines.base import Engine, EngineStats, ModelEngine, Rendering, Resizing
from veridistill.errors import VeridistillError
from veridistill.method import Plan
from veridistill.records import Problem
from veridistill.report.progress import Progress
from veridistill.runs import results


@dataclass
class Session:
    """One process at work on a run: its progress, and what the steps share."""

    run: RunDir
    progress: Progress
    gate: Gate | None = field(default=None, init=False)
    new_tokens: int = field(default=0, init=False)
    seeds: Seeds | None = field(default=None, init=False)
    problems: list[Problem] | None = field(default=None, init=False)

    @property
    def config(self) -> Config:
        return self.run.config

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the step's seconds to the results, however it ends."""
        start = time.monotonic()
        try:
            yield
        finally:
            results.add_seconds(self.run, step, time.monotonic() - start)


@dataclass(frozen=True, slots=True)
class Serving:
    """A model that can be asked. `judge` is the engine itself in the pure setting.

    `tokenizer` makes token ids of a reply's text where the engine may give none; None where it always does, or where
    the model's files are not available.
    """

    engine: Engine
    judge: Engine
    asker: Asker
    plan: Plan
    tokenizer: Any | None = None


def model_of(run: RunDir, number: int) -> ModelSection:
    """The model that round `number` starts from: the configured one, then each round's checkpoint."""
    if number == 1:
        return run.config.model
    return run.config.model.model_copy(update={"path": str(run.round(number - 1).model), "revision": None})


Roles = Literal["all", "solve"]
"""What will be asked: everything, or no judge's role."""


def exam_roles(config: Config) -> Roles:
    """An exam asks judges only for answers at test time (UQ-TTC)."""
    return "all" if config.evaluation.ttc else "solve"


@asynccontextmanager
async def serving(session: Session, number: int, roles: Roles = "all") -> AsyncIterator[Serving]:
    """The model of a round, and its judge, behind the one path: journal, gate, engine.

    A judge with weights of its own is opened only if `roles` need it.
    """
    config, model = session.config, model_of(session.run, number)
    async with AsyncExitStack() as stack:
        with session.progress.step("load model"):
            engines = await _engines(stack, config, model, roles)
        engine, judge = engines.solver, engines.judge
        journal = Journal(session.run.journal, session.run.older, config.journal.commit_rows)
        stack.push_async_callback(journal.close)
        capacity = sum(one.capacity for one in engines.opened)
        asker = Asker(
            engine,
            journal,
            # An endpoint whose servers serve other weights now has no capacity: what is known is replayed, no more.
            Gate(config.gate.width or max(capacity, 1), config.build.speculation if capacity > 0 else "off"),
            config.build,
            run_seed=config.seed,
            judge=judge if judge is not engine else None,
            width="engine" if config.gate.width is None else "fixed",
            max_tokens=config.limits.tokens,
            meter=Meter(new_tokens=session.new_tokens),
            window=config.build.window,
        )
        for one in engines.opened:
            if isinstance(one, Resizing):
                one.resized = asker.adapt
        session.gate = asker.gate
        try:
            yield Serving(
                engine, judge, asker, plan(config, engine, judge), text_tokenizer(config.engine, model)
            )
        finally:
            session.gate = None
            session.new_tokens = asker.new_tokens
            await journal.flush()
            stats = sum((one.stats() for one in engines.opened), EngineStats())
            results.add_usage(session.run, journal.usage(), stats, asker.meter)


@dataclass(frozen=True, slots=True)
class _Engines:
    """Who solves and who judges, and what was opened for them: one engine where both have the same weights."""

    solver: Engine
    judge: Engine
    opened: tuple[ModelEngine, ...]


async def _engines(stack: AsyncExitStack, config: Config, model: ModelSection, roles: Roles) -> _Engines:
    judging = config.judge.model or model
    section, judges_section = _section(config, model), _judge_section(config, judging)
    engine = await _opened(stack, section, model)
    if judges_section != section or _weights(judging) != _weights(model):
        if roles == "solve":
            unasked = NoEngine("", engine.reasons, (), "the judge was not opened, and is asked", capacity=0)
            return _Engines(engine, unasked, (engine,))
        judge = await _opened(stack, judges_section, judging)
        return _Engines(engine, judge, (engine, judge))
    if _rendering(judging) == _rendering(model):
        return _Engines(engine, engine, (engine,))
    return _Engines(engine, await asyncio.to_thread(engine.rendered, _rendering(judging)), (engine,))


def _section(config: Config, model: ModelSection) -> EngineSection:
    return _named(config.engine, config.model, model)


def _judge_section(config: Config, judging: ModelSection) -> EngineSection:
    if config.judge.engine is None:
        return _section(config, judging)
    return _named(config.judge.engine, config.judge.model or config.model, judging)


def _named(section: EngineSection, named: ModelSection, model: ModelSection) -> EngineSection:
    """`engine.served_name` names the model that the user configured; a server's name for other weights is not known."""
    if _weights(named) == _weights(model):
        return section
    return section.model_copy(update={"served_name": None})


def _weights(model: ModelSection) -> ModelSection:
    """What decides which weights are loaded: all but how prompts are rendered and replies are read."""
    return model.model_copy(update={"reasoning": "auto", **asdict(Rendering())})


def _rendering(model: ModelSection) -> Rendering:
    return Rendering(model.enable_thinking, model.control_tokens)


def text_tokenizer(section: EngineSection, model: ModelSection) -> Any | None:
    """An endpoint's model's tokenizer, if it is available: some servers give text alone."""
    if section.kind != "endpoint":
        return None
    from veridistill.engines.endpoint.model import declare

    prompts = declare(model, model_directory(model), "auto").prompts
    return prompts.tokenizer if prompts is not None else None


async def _opened(stack: AsyncExitStack, section: EngineSection, model: ModelSection) -> ModelEngine:
    opening = asyncio.ensure_future(asyncio.to_thread(open_engine, section, model))
    try:
        engine = await asyncio.shield(opening)
    except asyncio.CancelledError:
        with suppress(VeridistillError):  # no thread can be stopped: what it opens is closed
            await (await opening).close()
        raise
    stack.push_async_callback(engine.close)
    return engine


def plan(config: Config, engine: Engine, judge: Engine | None = None) -> Plan:
    """Everything that decides what is kept, from the configuration and what the templates say of reasoning."""
    reasoning = _reasoning(config.model, engine)
    judges_reason = _reasoning(config.judge.model or config.model, judge or engine)
    auto = "compact" if config.model.path == "lab" else "thinking" if reasoning else "instruct"
    jury = Jury(
        prompts.load(auto if config.prompts == "auto" else config.prompts),
        config.judge.sampling,
        judges_reason,
        config.judge.infer_per_vote,
        config.judge.max_reasks,
        config.judge.follow_up,
    )
    return Plan(
        candidates=config.generate.candidates,
        stages=config.judge.stages,
        votes=config.judge.votes,
        selection=config.build.selection,
        sampling=config.generate.sampling,
        jury=jury,
        reasoning=reasoning,
        run_seed=config.seed,
        extra_stages=tuple(s for s in config.build.extra_stages if s not in config.judge.stages),
    )


def _reasoning(model: ModelSection, engine: Engine) -> bool:
    return engine.reasons if model.reasoning == "auto" else model.reasoning == "required"
