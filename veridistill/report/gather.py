"""Gathers what the report shows beside `results.json`: from the latest round's tables, the journal and the training.

Tables are read a row group at a time, and questions to show are handed on one by one, so memory does not grow with
the run.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from veridistill.calls.journal import Entry, Reader
from veridistill.data import tables
from veridistill.data.rundir import RoundDir, RunDir
from veridistill.records import Path as RequestPath
from veridistill.records import Verdict
from veridistill.report.breakdown import Breakdown, breakdown
from veridistill.report.drift import Drift, drift
from veridistill.report.flips import Flips, flips
from veridistill.report.trained import Training, training
from veridistill.report.values import Results, part
from veridistill.report.views import CandidateView, ExampleView, Views, VoteView, choose

EXAMPLES = 200


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a report is made of."""

    results: Results
    examples: Views[ExampleView] = ()
    breakdown: Breakdown = field(default_factory=Breakdown)
    flips: Flips | None = None
    drift: Drift | None = None
    trainings: tuple[Training, ...] = ()


def contents(run: RunDir, results: Results) -> Contents:
    """What the run directory holds. Raises `ConfigError` for tables that cannot be read."""
    rounds = _rounds(results)
    latest = run.round(len(rounds))
    built = bool(rounds) and latest.built
    found = (training(run.round(number).model, number) for number in range(1, len(rounds) + 1))
    examined = _examined(run, len(rounds))
    return Contents(
        results=results,
        examples=examples(run, results) if built else (),
        breakdown=_breakdown(latest.tables / "candidates.parquet") if built else Breakdown(),
        flips=flips(*examined) if examined else None,
        drift=drift(*examined) if examined else None,
        trainings=tuple(one for one in found if one is not None),
    )


def _rounds(results: Results) -> list[Any]:
    found = part(results, "rounds")
    return found if isinstance(found, list) else []


def _examined(run: RunDir, rounds: int) -> tuple[Path, Path, Path] | None:
    """The tables of the exam before the first round and after the latest that has one, and of their problems."""
    before = run.round(1).tables / "exam_base.parquet"
    for number in range(rounds, 0, -1):
        folder = run.round(number).tables
        found = before, folder / "exam_after.parquet", folder / "problems.parquet"
        if all(path.is_file() for path in found):
            return found
    return None


def _breakdown(path: Path) -> Breakdown:
    return breakdown(tables.CANDIDATES.values(path, "index", "outcome", "completion_tokens"))


@dataclass(frozen=True, slots=True)
class Examples:
    """Questions of a round, in the seeds' order, with their candidates, votes and the judges' replies."""

    run: RunDir
    folder: RoundDir
    shown: frozenset[str]
    models: frozenset[str]

    def __len__(self) -> int:
        return len(self.shown)

    def __iter__(self) -> Iterator[ExampleView]:
        path, shown = self.folder.tables, self.shown
        seeds = {seed.seed_id: seed for seed in tables.SEEDS.where(path / "seeds.parquet", "seed_id", shown)}
        votes = _votes(self.folder, shown)
        rows = tables.CANDIDATES.where(path / "candidates.parquet", "seed_id", shown)
        with closing(Reader((self.run.journal, *self.run.older))) as journals:
            for seed_id, group in groupby(rows, key=lambda row: row.seed_id):
                replies = _replies(journals, seed_id, self.models)
                candidates = tuple(
                    CandidateView(
                        row.index, row.outcome, row.rejected_by, row.kept, row.answer, row.text,
                        tuple(_with_replies(vote, replies, row.index) for vote in votes[seed_id, row.index]),
                    )
                    for row in group
                )  # fmt: skip
                yield ExampleView(seed_id, seeds[seed_id].question, seeds[seed_id].domain, candidates)


def examples(run: RunDir, results: Results, count: int = EXAMPLES) -> Examples:
    """At most `count` questions of the latest round, a mix of all fates."""
    rounds = _rounds(results)
    folder, latest = run.round(len(rounds)), rounds[-1]
    models = frozenset((part(latest, "model"), part(latest, "judge", "model")))
    return Examples(run, folder, frozenset(choose(_verdicts(folder), count)), models)


def _verdicts(folder: RoundDir) -> Iterator[Verdict]:
    columns = ("seed_id", "index", "outcome", "rejected_by")
    for row in tables.CANDIDATES.values(folder.tables / "candidates.parquet", *columns):
        yield Verdict(*row)


def _votes(folder: RoundDir, shown: Collection[str]) -> dict[tuple[str, int], list[VoteView]]:
    found: dict[tuple[str, int], list[VoteView]] = defaultdict(list)
    for row in tables.VOTES.where(folder.tables / "votes.parquet", "seed_id", shown):
        found[row.seed_id, row.candidate].append(VoteView(row.stage, row.index, row.ballot, row.reason))
    return found


def _replies(journals: Reader, seed_id: str, models: Collection[str]) -> list[Entry]:
    """What was answered and counted, by role and path: a run's own replies hide those that it forked there."""
    found: dict[tuple[str, RequestPath], Entry] = {}
    for entry in journals.replies(seed_id).values():
        if entry.model in models:
            found.setdefault((entry.role, entry.path), entry)
    return list(found.values())


def _with_replies(vote: VoteView, entries: list[Entry], candidate: int) -> VoteView:
    place = (candidate, vote.stage, vote.index)
    return replace(vote, replies=tuple(e.completion.text for e in entries if e.path[1:4] == place))
