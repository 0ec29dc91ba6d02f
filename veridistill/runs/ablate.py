"""The paper's ablations from one exhaustive run, without a single new call.

A cell is one way to choose what is kept: n candidates, v votes, stages, a selection. The journal of a run that asked
everything holds all of its replies, so all cells are replayed together, question by question. Each writes its own
dataset and counts what the lazy policy would have asked for it. The grid ends at the run's own n and v.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from veridistill.calls.ask import Asker
from veridistill.calls.replay import NoEngine, Recorded, replayer
from veridistill.data import tables
from veridistill.data.rundir import RunDir, write_json
from veridistill.errors import ConfigError
from veridistill.method import Distilled, Plan, distil, generate, solve_prompt
from veridistill.records import Seed
from veridistill.report.progress import Progress
from veridistill.runs import results, session
from veridistill.runs.found import Found
from veridistill.runs.funnel import Funnel
from veridistill.training import rows

SIMPLE = "simple"


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to choose what is kept; its directory has its `name`."""

    name: str
    candidates: int
    votes: int
    stages: tuple[str, ...]
    selection: str

    def plan(self, whole: Plan) -> Plan:
        return replace(
            whole,
            candidates=self.candidates,
            votes=self.votes,
            stages=self.stages,
            selection=self.selection,
            extra_stages=(),
        )


def grid(plan: Plan, candidates: Sequence[int] = (), votes: Sequence[int] = ()) -> list[Cell]:
    """The cells that a run with this plan can give.

    n x v with `first` and `all`; no filter; the simple verifier, if it was asked; each stage alone. n defaults to the
    powers of two up to the plan's n, which is always among them; v to 1 up to the plan's.
    Raises `ConfigError` for an n or v that the run does not hold.
    """
    counts = _within("n", candidates, plan.candidates) or _powers(plan.candidates)
    ballots = _within("votes", votes, plan.votes) or list(range(1, plan.votes + 1))
    cells = [
        Cell(f"n{n}-v{v}-{selection}", n, v, plan.stages, selection)
        for selection in ("first", "all")
        for n in counts
        for v in ballots
    ]
    cells.append(Cell("unfiltered", 1, 1, plan.stages, "unfiltered"))
    alone = plan.stages if len(plan.stages) > 1 else ()
    for stage in dict.fromkeys((*alone, *plan.extra_stages)):
        name = stage if stage == SIMPLE else f"only-{stage}"
        cells.append(Cell(name, plan.candidates, plan.votes, (stage,), "first"))
    return cells


def _within(name: str, chosen: Sequence[int], most: int) -> list[int]:
    for value in chosen:
        if not 1 <= value <= most:
            raise ConfigError(f"--{name}: must be from 1 to {most}, what the run asked (found {value})")
    return sorted(set(chosen))


def _powers(most: int) -> list[int]:
    return sorted({most, *(2**i for i in range(most.bit_length()) if 2**i < most)})


@dataclass(frozen=True, slots=True)
class Source:
    """An exhaustive run: its directory, and the model and plan of its first round."""

    run: RunDir
    engine: NoEngine
    judge: NoEngine
    plan: Plan
    tokenizer: Any | None = None


def source(run: RunDir) -> Source:
    """Raises `ConfigError` when the run was not built, or not exhaustively, with the command that helps."""
    again = f"veridistill build --out {run.path} -o build.asks=exhaustive -o 'build.extra_stages=[{SIMPLE}]'"
    if run.config.build.asks != "exhaustive":
        raise ConfigError(
            f"{run.path}: was built with build.asks={run.config.build.asks}, so votes are missing; ask for the rest"
            f" with: {again}"
        )
    rounds = results.read(run).get("rounds")
    if not rounds or not rounds[0]:
        raise ConfigError(f"{run.path}: has not been built to its end; run: {again}")
    missing = f"{run.path}: a reply is missing that the exhaustive procedure asks for; run: {again}"
    built, judged_by = rounds[0], rounds[0]["judge"]
    engine = NoEngine(built["model"], built["reasons"], tuple(built["stop_ids"]), missing)
    judge = NoEngine(judged_by["model"], judged_by["reasons"], (), missing)
    tokenizer = session.text_tokenizer(run.config.engine, run.config.model)
    return Source(run, engine, judge, session.plan(run.config, engine, judge), tokenizer)


class _Trial:
    """One cell being replayed: its ask, its counts and its dataset."""

    def __init__(self, cell: Cell, source: Source, recorded: Recorded, out: Path, stack: ExitStack) -> None:
        self.cell = cell
        self.plan = cell.plan(source.plan)
        self.folder = out / cell.name
        self._policy = source.run.config.build.model_copy(update={"asks": "lazy", "audit_share": 0.0})
        self._asker: Asker = replayer(
            source.engine, recorded, self._policy, source.run.config.seed, source.judge
        )
        self._funnel = Funnel(self.plan.stages, self.plan.votes)
        self._curation = rows.Curation()
        self._curator = rows.Curator(source.engine.stop_ids, source.tokenizer)
        self._examples = stack.enter_context(tables.EXAMPLES.writer(self.folder / "examples.parquet"))

    async def take(self, seed: Seed) -> None:
        async with self._asker.unit(seed.seed_id) as ask:
            distilled = await distil(seed, ask, self.plan)
        self._funnel.add(Found.of(distilled))
        for example in self._curator.curate(await self._kept(distilled), self._curation):
            self._examples.add(example)

    async def _kept(self, distilled: Distilled) -> list[rows.Kept]:
        """The kept candidates, with the token ids that they were sampled as."""
        seed, prompt = distilled.seed, solve_prompt(distilled.seed, self.plan)
        answered = await self._asker.answered(seed.seed_id, "solve")
        kept = [await generate(seed, candidate.index, self.plan, answered) for candidate in distilled.kept]
        return [rows.Kept(seed, candidate, prompt) for candidate in kept]

    def summary(self) -> dict[str, Any]:
        """`acceptance` is the share of questions of which something is kept; tokens are the lazy policy's."""
        funnel, meter = self._funnel, self._asker.meter
        prompt, completion = sum(meter.prompt_tokens.values()), sum(meter.completion_tokens.values())
        return asdict(self.cell) | {
            "kept": funnel.kept,
            "questions_kept": funnel.questions_kept,
            "acceptance": funnel.questions_kept / funnel.seeds if funnel.seeds else None,
            "examples": self._curation.examples,
            "dropped_examples": dict(self._curation.dropped),
            "calls": sum(meter.calls.values()),
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "tokens": prompt + completion,
        }


async def ablate(run: RunDir, out: Path, cells: Sequence[Cell], progress: Progress) -> dict[str, Any]:
    """Replay the cells into `out`: a dataset each, and `ablation.json`, which is returned."""
    found, start = source(run), time.monotonic()
    # From the run's own table, since the seeds file may have changed.
    seeds = list(tables.SEEDS.read(run.round(1).tables / "seeds.parquet"))
    recorded = Recorded((run.journal, *run.older))
    try:
        with ExitStack() as stack, progress.step("ablate", len(seeds), "questions") as step:
            trials = [_Trial(cell, found, recorded, out, stack) for cell in cells]
            for number, seed in enumerate(seeds, 1):
                for trial in trials:
                    await trial.take(seed)
                step.update(number, cells=len(trials))
    finally:
        recorded.close()
    return _written(run, found, out, trials, time.monotonic() - start)


def _written(
    run: RunDir, found: Source, out: Path, trials: Iterable[_Trial], seconds: float
) -> dict[str, Any]:
    summaries = []
    for trial in trials:
        rows.write_messages(
            tables.EXAMPLES.read(trial.folder / "examples.parquet"), trial.folder / "train.jsonl"
        )
        summaries.append(trial.summary())
    data = {
        "run": str(run.path.absolute()),
        "model": found.engine.fingerprint,
        "order": run.config.build.order,
        "new_calls": 0,
        "seconds": round(seconds, 3),
        "cells": summaries,
    }
    write_json(out / "ablation.json", data)
    return data


def table(data: dict[str, Any]) -> str:
    """The cells for a terminal."""
    lines = [f"{'cell':24} {'kept':>8} {'of questions':>12} {'calls':>10} {'tokens':>12}"]
    for cell in data["cells"]:
        share = "" if cell["acceptance"] is None else f"{cell['acceptance']:.1%}"
        lines.append(
            f"{cell['name']:24} {cell['kept']:8,} {share:>12} {cell['calls']:10,} {cell['tokens']:12,}"
        )
    return "\n".join(lines)
