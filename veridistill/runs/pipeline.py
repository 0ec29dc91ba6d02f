"""The steps of a run: build → curate → train → evaluate → report, for each round.

Each step is a function of the run directory. Building and examining keep nothing but the journal and are replayed from
it; a trained model is never trained again. The algorithm is `method`'s, the way to a model `ask`'s.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from veridistill.runs import canaries, inputs, results
from veridistill.data import tables
from veridistill.calls.ask import audited
from veridistill.config import Config
from veridistill.engines import model_directory
from veridistill.errors import BudgetReached, ConfigError, QualityLimit, VeridistillError
from veridistill.runs.examine import examine, graders
from veridistill.runs.funnel import Audit, Funnel
from veridistill.method import Distilled, distil, solve_prompt
from veridistill.records import Problem, Seed
from veridistill.report import gather, page
from veridistill.data.rundir import RoundDir, RunDir
from veridistill.data.seeds import Seeds
from veridistill.runs.session import Serving, Session, exam_roles, model_of, serving
from veridistill.training import rows, sft


async def run(session: Session) -> dict[str, Any]:
    """All rounds from the seeds to the report. Raises `QualityLimit` after the report when a build is not usable."""
    results.start(session.run)
    async with _working(session, "complete"):
        # Faults in either are told before a model is loaded.
        questions(session)
        problems(session)
        for number in range(1, session.config.rounds + 1):
            await _round(session, number)
    return results.read(session.run)


async def _round(session: Session, number: int) -> None:
    async with serving(session, number) as base:
        await build(session, base, number)
        if number == 1:
            await examine(session, base, "base", number, problems(session))
    check_quality(session, number)
    await train(session, number)
    if problems(session):
        async with serving(session, number + 1, exam_roles(session.config)) as after:
            await examine(session, after, "after", number, problems(session))


def next_round(run: RunDir) -> int:
    """The first round without a trained model, or the last."""
    return next(
        (n for n in range(1, run.config.rounds) if not run.round(n).model.exists()), run.config.rounds
    )


async def build_step(session: Session) -> dict[str, Any]:
    """The next round's dataset alone. Raises `QualityLimit` when it is not usable."""
    number = next_round(session.run)
    async with _working(session):
        questions(session)
        async with serving(session, number) as base:
            await build(session, base, number)
        check_quality(session, number)
    return dict(results.read(session.run)["funnel"])


async def train_step(session: Session) -> dict[str, Any]:
    """The next round's model from a dataset that is there."""
    number = next_round(session.run)
    if not session.run.round(number).examples.is_file():
        raise ConfigError(f"{session.run.path}: round {number} has no dataset; run veridistill build first")
    async with _working(session):
        check_quality(session, number)
        await train(session, number)
    return {
        "model": str(session.run.round(number).model),
        **results.read(session.run)["rounds"][number - 1]["training"],
    }


async def evaluate_step(session: Session) -> dict[str, Any]:
    """The exam of the base model and of the latest trained one, if there is any."""
    trained = [n for n in range(1, session.config.rounds + 1) if session.run.round(n).model.exists()]
    async with _working(session):
        chosen, roles = problems(session), exam_roles(session.config)
        async with serving(session, 1, roles) as base:
            await examine(session, base, "base", 1, chosen)
        if trained:
            async with serving(session, trained[-1] + 1, roles) as after:
                await examine(session, after, "after", trained[-1], chosen)
    found = results.read(session.run)
    return {
        name: found[name] for name in ("base", "after", "gain", "gains", "ttc") if found[name] is not None
    }


def questions(session: Session) -> Seeds:
    """The seed questions, read once."""
    if session.seeds is None:
        session.seeds = inputs.questions(session.run)
    return session.seeds


def problems(session: Session) -> list[Problem]:
    """The problems of the exam, read once; what cannot be graded as things are set is told."""
    if session.problems is None:
        session.problems = inputs.problems(session.run)
        graders(session).check(session.problems)
    return session.problems


async def build(session: Session, serving: Serving, number: int) -> Funnel:
    """Distil every question and write the round's tables and dataset."""
    found = questions(session)
    folder = session.run.round(number)
    section, plan = session.config.build, serving.plan
    funnel = Funnel(plan.stages)
    audit = Audit((*plan.stages, *plan.extra_stages))
    planted = canaries.Canaries()
    with session.timed("build"), session.progress.step("build", len(found.seeds), "questions") as step:
        meter = serving.asker.meter
        before = meter.new_tokens

        def seen(distilled: Distilled) -> None:
            funnel.add(distilled)
            step.update(funnel.seeds, kept=funnel.kept, tokens=meter.new_tokens - before)

        with Sink(folder, serving) as sink:
            share = section.canary_share if plan.selection != "unfiltered" else 0.0  # nobody judges there
            async for distilled in _distilled(serving, found.seeds, seen, planted, share, found.whole):
                whole = section.asks == "exhaustive" or audited(distilled.seed.seed_id, section.audit_share)
                audit.add(distilled, whole)
                sink.add(distilled)
        rows.write_messages(tables.EXAMPLES.read(folder.examples), folder.dataset / "train.jsonl")
    results.add_build(
        session.run,
        number,
        results.Built(found, funnel, audit, planted, sink.curation, serving.engine, serving.judge),
    )
    return funnel


async def _distilled(
    serving: Serving,
    found: Sequence[Seed],
    seen: Callable[[Distilled], None] = lambda _: None,
    planted: canaries.Canaries | None = None,
    share: float = 0.0,
    others: Sequence[Seed] = (),
) -> AsyncGenerator[Distilled, None]:
    """In the order of the questions; `seen` is told of each as soon as it is done. A `share` gets a canary each.

    `others`: the questions of all shards, so that a canary is the same in a shard and in the merged run.
    """

    async def work(seed: Seed, ask: Any) -> Distilled:
        distilled = await distil(seed, ask, serving.plan)
        seen(distilled)
        if planted is not None and canaries.chosen(seed.seed_id, share):
            other = canaries.other_than(seed, others)
            planted.add(await canaries.plant(seed, other, ask, serving.plan))
        return distilled

    async with aclosing(serving.asker.over(found, lambda seed: seed.seed_id, work)) as stream:
        async for distilled in stream:
            yield distilled


class Sink:
    """Writes what was distilled: tables for people, examples for training. All appear at the end, or none."""

    def __init__(self, folder: RoundDir, serving: Serving) -> None:
        self.curation = rows.Curation()
        self._curator = rows.Curator(serving.engine.stop_ids, serving.tokenizer)
        self._plan = serving.plan
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> "Sink":
        enter, folder = self._stack.enter_context, self._folder
        self._seeds = enter(tables.SEEDS.writer(folder.tables / "seeds.parquet"))
        self._candidates = enter(tables.CANDIDATES.writer(folder.tables / "candidates.parquet"))
        self._votes = enter(tables.VOTES.writer(folder.tables / "votes.parquet"))
        self._examples = enter(tables.EXAMPLES.writer(folder.examples))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, distilled: Distilled) -> None:
        kept = {candidate.index for candidate in distilled.kept}
        self._seeds.add(distilled.seed)
        for judged in distilled.judged:
            index = judged.candidate.index
            self._candidates.add(tables.CandidateRow.of(judged.candidate, judged.verdict, index in kept))
            for vote in tables.VoteRow.of(judged.verdict):
                self._votes.add(vote)
        prompt = solve_prompt(distilled.seed, self._plan)
        chosen = [rows.Kept(distilled.seed, candidate, prompt) for candidate in distilled.kept]
        for example in self._curator.curate(chosen, self.curation):
            self._examples.add(example)


def check_quality(session: Session, number: int) -> None:
    """Raise `QualityLimit` when a build must not be trained on."""
    section, rounds = session.config.quality, results.read(session.run)["rounds"]
    if len(rounds) < number:
        raise ConfigError(
            f"{session.run.path}: round {number} was not built to its end; run veridistill build first"
        )
    built, faults = rounds[number - 1], []
    if built["dropped_examples"].get("no_ids"):
        faults.append(
            f"{built['dropped_examples']['no_ids']} candidates have no token ids; to train on them set model.path to"
            " the model's directory, whose tokenizer makes them"
        )
    if built["examples"] < section.min_kept:
        faults.append(
            f"{built['funnel']['kept']} candidates kept, {built['examples']} of them fit to train on,"
            f" fewer than quality.min_kept={section.min_kept}"
        )
    if built["invalid_share"] > section.max_invalid:
        faults.append(
            f"{built['invalid_share']:.0%} of votes invalid, above quality.max_invalid={section.max_invalid}"
        )
    if accepted := canaries.fault(built["canaries"], section.max_canaries):
        faults.append(accepted)
    if faults:
        message = f"round {number} is not trained on: " + "; ".join(faults) + f"; see {session.run.report}"
        results.warn(session.run, message)
        raise QualityLimit(message)


async def train(session: Session, number: int) -> None:
    """Fine-tune the round's model on its examples, in a process of its own."""
    config, folder, model = session.config, session.run.round(number), model_of(session.run, number)
    with session.timed("train"), session.progress.step("train", None, "steps") as step:
        trained = await sft.train(
            config.train,
            model_directory(model),
            model.revision,
            folder.examples,
            folder.train,
            folder.model,
            device=config.engine.device,
            threads=config.engine.threads,
            progress=lambda seen: step.update(seen.step, seen.total, loss=seen.loss),
        )
    results.add_training(session.run, number, trained)


def report(run: RunDir) -> Path:
    """Write `report.html` from what the run directory holds."""
    return page.write(run.path, results.read(run), gather.examples(run))


async def dry_run(session: Session, sample: int = 20) -> dict[str, Any]:
    """Calls, tokens and time of a build, estimated from its first questions, whose replies stay in the journal."""
    found = questions(session)
    async with _working(session), serving(session, 1) as base:
        start = time.monotonic()
        async for _ in _distilled(base, found.seeds[:sample]):
            pass
        seconds, total = time.monotonic() - start, len(found.seeds)
        return results.estimate(base.asker.meter, min(sample, total), total, base.asker.gate.width, seconds)


@asynccontextmanager
async def _working(session: Session, done: results.Status | None = None) -> AsyncIterator[None]:
    """Limits, a true status and a report, however the block ends; what ended it is what is raised."""
    try:
        with results.step(session.run, done):
            async with _limited(session.config):
                yield
    except BaseException:
        with suppress(VeridistillError, OSError, sqlite3.Error):
            report(session.run)
        raise
    report(session.run)


@asynccontextmanager
async def _limited(config: Config) -> AsyncIterator[None]:
    hours = config.limits.hours
    try:
        async with asyncio.timeout(hours * 3600 if hours else None) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise BudgetReached(f"limits.hours of {hours} reached; raise it and run again to go on") from None
