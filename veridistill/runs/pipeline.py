"""The steps of a run: build → curate → train → evaluate → report, for each round.

Each step is a function of the run directory. The only state of building and evaluating is the journal, from which they
are replayed; a trained model is never trained again. `method` holds the algorithm, `calls.ask` makes the calls, `sink`
writes the files of a build.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from veridistill.calls.unit import UnitAsk
from veridistill.config import Config
from veridistill.data.rundir import RunDir
from veridistill.data.seeds import Seeds
from veridistill.engines import model_directory
from veridistill.errors import BudgetReached, ConfigError, VeridistillError
from veridistill.method import Distilled, Plan, distil
from veridistill.records import Problem, Seed
from veridistill.report import gather, page
from veridistill.runs import (
    canaries,
    figures,
    inputs,
    live,
    model_card,
    near_misses,
    preflight,
    quality,
    results,
)
from veridistill.runs.canaries import Planted
from veridistill.runs.early import Early
from veridistill.runs.estimate import estimate
from veridistill.runs.examine import examine, graders
from veridistill.runs.found import Found
from veridistill.runs.funnel import Counts, Funnel
from veridistill.runs.origin import origin
from veridistill.runs.session import Serving, Session, exam_roles, model_of, serving
from veridistill.runs.sink import Sink
from veridistill.runs.target import Target
from veridistill.training import launcher
from veridistill.training.job import Job


async def run(session: Session) -> dict[str, Any]:
    """All rounds from the seeds to the report. Raises `QualityLimit` after the report when a build is not usable."""
    results.start(session.run)
    async with _working(session, "complete"):
        # Their faults are reported before a model is loaded.
        questions(session)
        problems(session)
        preflight.check(session)
        for number in range(1, session.config.rounds + 1):
            await _round(session, number)
    return results.read(session.run)


async def _round(session: Session, number: int) -> None:
    async with serving(session, number) as base:
        await build(session, base, number)
        if number == 1:
            await examine(session, base, "base", number, problems(session))
    quality.check(session, number)
    await train(session, number)
    if problems(session):
        async with serving(session, number + 1, exam_roles(session.config)) as after:
            await examine(session, after, "after", number, problems(session))
    model_card.write(session.run, number)


def next_round(run: RunDir) -> int:
    """The first round without a trained model, else the last round."""
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
        quality.check(session, number)
    return dict(results.read(session.run)["funnel"])


async def train_step(session: Session) -> dict[str, Any]:
    """Train the next round's model on its existing dataset."""
    number = next_round(session.run)
    if not session.run.round(number).built:
        raise ConfigError(f"{session.run.path}: round {number} has no dataset; run veridistill build first")
    async with _working(session):
        quality.check(session, number)
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
            model_card.write(session.run, trained[-1])
    found = results.read(session.run)
    return {
        name: found[name] for name in ("base", "after", "gain", "gains", "ttc") if found[name] is not None
    }


def questions(session: Session) -> Seeds:
    """The seed questions, read once."""
    if session.seeds is None:
        with session.progress.step("read questions"):
            session.seeds = inputs.questions(session.run)
    return session.seeds


def problems(session: Session) -> list[Problem]:
    """The problems of the exam, read once. Raises `ConfigError` when one cannot be graded with these settings."""
    if session.problems is None:
        with session.progress.step("read problems"):
            session.problems = inputs.problems(session.run)
        graders(session).check(session.problems)
    return session.problems


async def build(session: Session, serving: Serving, number: int) -> Funnel:
    """Distil every question, or as many as `build.target` needs, and write the round's tables and dataset.

    Raises `QualityLimit` after the first questions when most votes are invalid.
    """
    section, plan, found = session.config.build, serving.plan, questions(session)
    counts = Counts.of(plan, found.domains)
    target = Target(section.target, section.speculation)
    early = Early(plan.stages, session.config.quality.max_invalid, serving.asker.journal)
    expected = live.forecast(serving.asker, section, plan, found, lambda: target.questions(len(found.seeds)))
    watch, ballots = live.traffic(serving.asker, session.config, expected), Counter[str]()
    with session.timed("build"), session.progress.step("build", len(found.seeds), "questions", watch) as step:

        async def work(seed: Seed, ask: UnitAsk) -> Found:
            distilled = await distil(seed, ask, plan)
            planted = await _planted(distilled, found, ask, plan, canaries.share(section, plan))
            one = Found.of(distilled, ask.exhaustive, planted)
            target.ended(one)
            ballots.update(live.votes(one.verdicts))
            step.update(target.done, kept=target.kept, **ballots)
            return one

        opened = serving.asker.map_units(found.seeds, lambda seed: seed.seed_id, work, target.most_open)
        async with Sink(session.run.round(number), serving) as sink, aclosing(opened) as stream:
            async for one in stream:
                counts.add(one)
                target.take(one)
                await sink.add(one)
                if (stopped := await early.add(one)) is not None:
                    raise quality.stopped(session, number, stopped)
                if target.reached:
                    break
    built = figures.Built(found, plan.selection, counts, target, sink.curation, serving.engine, serving.judge)
    results.add_build(session.run, number, built)
    return counts.funnel


async def _planted(
    distilled: Distilled, found: Seeds, ask: UnitAsk, plan: Plan, share: float
) -> tuple[Planted, ...]:
    """The outcomes of the question's canary and near miss, if it was drawn for any."""
    seed, planted = distilled.seed, []
    if canaries.chosen(seed.seed_id, share):
        # From the questions of all shards, so that a canary is the same in a shard and in the merged run.
        other = canaries.other_than(seed, found.like(seed))
        planted.append(await canaries.plant(seed, other, ask, plan))
    if (near := await near_misses.plant(distilled, share, ask, plan)) is not None:
        planted.append(near)
    return tuple(planted)


async def train(session: Session, number: int) -> None:
    """Fine-tune the round's model on its examples, in a separate process."""
    config, folder, model = session.config, session.run.round(number), model_of(session.run, number)
    job = Job(
        section=config.train,
        origin=origin(session.run, number),
        base_model=model_directory(model),
        revision=model.revision,
        examples=folder.examples,
        work=folder.train,
        out=folder.model,
        device=config.engine.device,
        threads=config.engine.threads,
    )
    with session.timed("train"), session.progress.step("train", None, "steps") as step:
        trained = await launcher.train(job, lambda seen: step.update(seen.step, seen.total, loss=seen.loss))
    results.add_training(session.run, number, trained)


def report(run: RunDir) -> Path:
    """Write `report.html` from what the run directory holds."""
    return page.write(run.path, gather.contents(run, results.read(run)))


async def dry_run(session: Session) -> dict[str, Any]:
    """Calls, tokens and time of a build, estimated from a sample of its questions."""
    found = questions(session)
    async with _working(session), serving(session, 1) as base:
        watch = live.traffic(base.asker, session.config)
        with session.progress.step("dry run", watch=watch):
            return await estimate(base, session.config.build, found)


@asynccontextmanager
async def _working(session: Session, done: results.Status | None = None) -> AsyncIterator[None]:
    """Apply limits, and write the status and the report however the block ends; its error is raised unchanged."""
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
        raise BudgetReached(f"limits.hours of {hours} reached; raise it and run again to resume") from None
