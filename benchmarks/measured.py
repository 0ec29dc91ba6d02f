"""What the pieces of a study on real questions say, read from their files: labels, who is trained on what, all figures.

Nothing is asked or graded here. Shares are of 1 with 95 % intervals over questions, differences in points.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import arms
from steps import Steps

from veridistill.audit.shares import share_of
from veridistill.data.rundir import read_json
from veridistill.data.tables import (
    ATTEMPTS,
    CANDIDATES,
    EXAMPLES,
    PROBLEMS,
    SEEDS,
    VOTES,
    CandidateRow,
    VoteRow,
)
from veridistill.evaluation import paired
from veridistill.records import UNGRADED, Attempt

Row = dict[str, Any]
Labels = Mapping[tuple[str, int], bool]
BUILD = ("funnel", "outcomes", "votes", "canaries", "calls", "tokens", "versions", "fingerprints")


# --- labels -----------------------------------------------------------------------------------------------------


def responses(candidates: Iterable[CandidateRow], references: Iterable[Row]) -> Iterator[Row]:
    """Lines for `veridistill grade`: each candidate with its question's reference; ids are `CANDIDATE/SEED`."""
    known = {reference["id"]: reference for reference in references}
    for one in candidates:
        yield known[one.seed_id] | {"id": f"{one.index}/{one.seed_id}", "response": one.text}


def labels(graded: Iterable[Row]) -> Iterator[Row]:
    """Lines for `veridistill audit`: what `grade` could grade. A candidate without an answer is wrong."""
    for line in graded:
        if line["outcome"] not in UNGRADED:
            index, _, seed_id = line["id"].partition("/")
            yield {"id": seed_id, "candidate": int(index), "correct": line["outcome"] == "pass"}


def read_labels(path: Path) -> dict[tuple[str, int], bool]:
    return {(row["id"], row["candidate"]): row["correct"] for row in lines(path)}


def lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


# --- who is trained on what -------------------------------------------------------------------------------------


def chosen(build: Path, labels: Path, scores: Path, most: int) -> dict[str, list[str]]:
    """The questions of each arm, by arm, in the order of the seeds: equally many, where there are that many.

    That is as many as the cascade kept, and at most `most`; or `most` where the cascade kept nothing.
    """
    folder = build / "rounds" / "1" / "tables"
    order = [seed.seed_id for seed in SEEDS.read(folder / "seeds.parquet")]
    scored = arms.read_scores(scores) if scores.is_file() else {}
    candidates = list(CANDIDATES.read(folder / "candidates.parquet"))
    return equally_many(order, candidates, read_labels(labels), scored, most)


def equally_many(
    order: Sequence[str],
    candidates: Sequence[CandidateRow],
    right: Labels,
    scores: Mapping[tuple[str, int], float],
    most: int,
) -> dict[str, list[str]]:
    """`soft` has the questions with the highest scores, the other arms their first questions."""
    usable = {
        "cascade": {one.seed_id for one in candidates if one.kept},
        "unfiltered": {one.seed_id for one in candidates if one.index == 0 and one.finish_reason == "stop"},
        "oracle": {
            one.seed_id
            for one in candidates
            if one.outcome != "malformed" and right.get((one.seed_id, one.index))
        },
    }
    num = min(most, len(usable["cascade"]) or most)
    found = {arm: [name for name in order if name in ids][:num] for arm, ids in usable.items()}
    best: dict[str, float] = {}
    for (name, _), score in scores.items():
        best[name] = max(score, best.get(name, score))
    highest = set(sorted(best, key=lambda name: -best[name])[:num])
    return found | {"soft": [name for name in order if name in highest]}


# --- figures ----------------------------------------------------------------------------------------------------


def gathered(folder: Path, arms: Sequence[str]) -> Row:
    """Everything that is known so far."""
    built = read_json(folder / "build" / "results.json")
    found: Row = {"base": built.get("base")} | {name: built.get(name) for name in BUILD}
    found["rounds"] = [
        {name: one.get(name) for name in ("defects", "invalid_share", "questions_kept", "contaminated_seeds")}
        for one in built.get("rounds", [])
        if one
    ]
    label_file = folder / "labels.jsonl"
    right = read_labels(label_file) if label_file.is_file() else {}
    if right:
        table = folder / "build" / "rounds" / "1" / "tables" / "candidates.parquet"
        found["right"] = shares_right(list(CANDIDATES.read(table)), right)
        found["invalid"] = invalid_by_cause(VOTES.read(table.with_name("votes.parquet")))
    found["audit"] = read_json(folder / "audit.json") or None
    found["soft"] = read_json(folder / "soft.json") or None
    found["audit_votes"] = read_json(folder / "audit_votes.json") or None
    found["arms"] = {name: of_arm(folder / name, right) for name in arms if (folder / name).is_dir()}
    found["cascade_over"] = _between(folder, [arm for arm in arms if arm != "cascade"])
    found["ttc"] = (read_json(folder / "ttc" / "results.json").get("ttc") or {}).get("base")
    found["others"] = others(folder, arms)
    found["steps"] = steps(folder)
    return found


def shares_right(candidates: Sequence[CandidateRow], right: Labels) -> Row:
    """Of all questions' candidates 0, and of the kept candidates (one a question at most): how many are right."""

    def share(some: Iterable[CandidateRow]) -> Row:
        graded = [right[key] for one in some if (key := (one.seed_id, one.index)) in right]
        return {"right": sum(graded), "graded": len(graded), **asdict(share_of(sum(graded), len(graded)))}

    return {
        "first": share(one for one in candidates if one.index == 0),
        "kept": share(one for one in candidates if one.kept),
        "questions_with_a_right_candidate": len({key[0] for key, correct in right.items() if correct}),
    }


def invalid_by_cause(votes: Iterable[VoteRow]) -> Row:
    """By stage: the votes, and the invalid ones by the cause that `decide` gives."""
    found: Row = {}
    for one in votes:
        stage = found.setdefault(one.stage, {"votes": 0, "invalid": {}})
        stage["votes"] += 1
        if one.ballot == "invalid":
            stage["invalid"][one.reason] = stage["invalid"].get(one.reason, 0) + 1
    return found


def of_arm(folder: Path, right: Labels) -> Row:
    """An arm's examples, training, exam and gain over the base model on the same problems.

    `new_calls` are those that its build made beside the replies of the first one: none, where that asked everything.
    """
    results = read_json(folder / "results.json")
    rounds, calls = [one for one in results.get("rounds", []) if one], results.get("calls") or {}
    examples = folder / "rounds" / "1" / "dataset" / "examples.parquet"
    keys = [(one.seed_id, one.candidate) for one in EXAMPLES.read(examples)] if examples.is_file() else []
    return {
        "examples": len(keys),
        "examples_right": sum(right.get(key, False) for key in keys),
        "new_calls": sum(num for role, num in calls.items() if role not in ("exam", "total", "cancelled")),
        "training": rounds[0].get("training") if rounds else None,
        "after": results.get("after"),
        "gain": results.get("gain"),
    }


def _between(folder: Path, arms: Sequence[str]) -> Row:
    """The cascade's model against each other arm's, paired over the problems of the exam."""
    cascade = attempts(folder / "cascade", "after")
    found = {arm: attempts(folder / arm, "after") for arm in arms}
    return {arm: _paired(one, cascade) for arm, one in found.items() if one and cascade}


def others(folder: Path, arms: Sequence[str]) -> Row:
    """By model: pass@1 in each other domain, and the difference to the base model there."""
    base, found = by_domain(folder / "others-base"), {}
    for name in ("base", *arms):
        mine = by_domain(folder / f"others-{name}")
        found |= {name: {domain: _paired(base[domain], one) for domain, one in mine.items()}} if mine else {}
    return found


def by_domain(run: Path) -> dict[str, list[Attempt]]:
    """The attempts of a run's exam by the domain of their problem."""
    problems = run / "rounds" / "1" / "tables" / "problems.parquet"
    domains = {p.problem_id: p.domain for p in PROBLEMS.read(problems)} if problems.is_file() else {}
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts(run, "base"):
        domain = domains[attempt.problem_id]
        found.setdefault(domain, []).append(replace(attempt, benchmark=domain))
    return found


def attempts(run: Path, which: str) -> list[Attempt]:
    """The attempts at an exam, without their texts; none where it was not sat to its end."""
    path = run / "rounds" / "1" / "tables" / f"exam_{which}.parquet"
    return list(ATTEMPTS.read(path, without=["response"])) if path.is_file() else []


def _paired(before: Iterable[Attempt], after: Iterable[Attempt]) -> Row | None:
    found = paired.compare(before, after).pooled
    return None if found is None else asdict(found)


def steps(folder: Path) -> Row:
    """Seconds, processor seconds and peak memory of each step, over all of its runs."""
    found: Row = {}
    for one in Steps(folder).ran():
        old = found.get(one.name, {"runs": 0, "seconds": 0.0, "cpu_seconds": 0.0, "peak_mb": 0.0})
        found[one.name] = {
            "runs": old["runs"] + 1,
            "seconds": round(old["seconds"] + one.seconds, 1),
            "cpu_seconds": round(old["cpu_seconds"] + one.cpu_seconds, 1),
            "peak_mb": max(old["peak_mb"], one.peak_mb),
        }
    return found
