"""Gathers what the report shows of single questions: from the latest round's tables and the journal."""

from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from veridistill.calls.journal import Entry, Reader
from veridistill.data import tables
from veridistill.data.rundir import RunDir, read_json
from veridistill.records import Path as RequestPath
from veridistill.records import Verdict
from veridistill.report.views import CandidateView, ExampleView, VoteView, choose


def examples(run: RunDir, count: int = 20) -> list[ExampleView]:
    """At most `count` questions with their candidates, votes and the judges' replies; none before a build."""
    rounds = read_json(run.results).get("rounds", [])
    if not rounds or not run.round(len(rounds)).built:
        return []
    folder = run.round(len(rounds)).tables
    shown = choose(_verdicts(folder / "candidates.parquet"), count)
    questions = {
        s.seed_id: s.question for s in tables.SEEDS.read(folder / "seeds.parquet") if s.seed_id in set(shown)
    }
    candidates, votes = _candidates(folder, set(shown)), _votes(folder, set(shown))
    models = {rounds[-1]["model"], rounds[-1]["judge"]["model"]}
    with closing(Reader((run.journal, *run.older))) as journals:
        replies_of = {seed_id: _replies(journals, seed_id, models) for seed_id in shown}
    views = []
    for seed_id in shown:
        replies = replies_of[seed_id]
        judged = tuple(
            replace(
                view, votes=tuple(_with_replies(v, replies, view.index) for v in votes[seed_id, view.index])
            )
            for view in candidates[seed_id]
        )
        views.append(ExampleView(seed_id, questions[seed_id], judged))
    return views


def _verdicts(path: Path) -> "list[Verdict]":
    return [
        Verdict(row.seed_id, row.index, row.outcome, row.rejected_by) for row in tables.CANDIDATES.read(path)
    ]


def _candidates(folder: Path, shown: set[str]) -> dict[str, list[CandidateView]]:
    found: dict[str, list[CandidateView]] = defaultdict(list)
    for row in tables.CANDIDATES.read(folder / "candidates.parquet"):
        if row.seed_id in shown:
            view = CandidateView(row.index, row.outcome, row.rejected_by, row.kept, row.answer, row.text)
            found[row.seed_id].append(view)
    return found


def _votes(folder: Path, shown: set[str]) -> dict[tuple[str, int], list[VoteView]]:
    found: dict[tuple[str, int], list[VoteView]] = defaultdict(list)
    for row in tables.VOTES.read(folder / "votes.parquet"):
        if row.seed_id in shown:
            found[row.seed_id, row.candidate].append(VoteView(row.stage, row.index, row.ballot, row.reason))
    return found


def _replies(journals: Reader, seed_id: str, models: set[str]) -> list[Entry]:
    """What was answered and counted, by role and path: a run's own replies hide those that it forked there."""
    found: dict[tuple[str, RequestPath], Entry] = {}
    for entry in journals.replies(seed_id).values():
        if entry.model in models:
            found.setdefault((entry.role, entry.path), entry)
    return list(found.values())


def _with_replies(vote: VoteView, entries: list[Entry], candidate: int) -> VoteView:
    place = (candidate, vote.stage, vote.index)
    return replace(vote, replies=tuple(e.completion.text for e in entries if e.path[1:4] == place))
