"""Precision and recall of a run's judges, by labels of which candidates are right (`veridistill audit --labels`).

Precision, recall and false-accept rate of each stage, of the cascade, and of both with fewer votes or a majority rule.
Only questions that were asked exhaustively count: where votes stop early, a late vote is cast only on candidates that
passed all earlier ones, a biased sample. No call is made and nothing is written to the run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from veridistill.audit import labels as labels_file
from veridistill.audit import votes as cast_votes
from veridistill.audit.labelled import Counts, Judged, folder, known_candidates
from veridistill.audit.shares import Clustered, Share
from veridistill.data.rundir import RunDir
from veridistill.errors import ConfigError
from veridistill.grading.graders import Graders

Rule = Literal["unanimous", "majority"]
CASCADE = "cascade"
AGREEMENT = "agreement"


@dataclass(frozen=True, slots=True)
class Quality:
    """A judge (a stage, or the cascade of all) under a rule. Shares of 1 with 95 % intervals over questions.

    `precision`: of the accepted, those that are right. `recall`: of the right, those that are accepted.
    `false_accepts`: of the wrong, those that are accepted. `first_valid`: of the questions' first accepted candidates,
    which is what a build keeps, those that are right.
    """

    judge: str
    votes: int
    rule: Rule
    accepted: int
    accepted_right: int
    precision: Share
    recall: Share
    false_accepts: Share
    questions_kept: int
    first_valid: Share


async def audit(run: RunDir, labels: Path, graders: Graders, number: int | None = None) -> dict[str, Any]:
    """The judges of a round (by default the last one built), measured: see `docs/evaluation.md` for the fields.

    Raises `ConfigError` when the labels have faults, the run was not built, or no labelled question was asked
    exhaustively; the last two say what to do.
    """
    built = folder(run, number)
    given = labels_file.load(labels, int(built.path.name))
    known = await known_candidates(run, built, given, graders)
    counts = known.counts
    if not known.judged:
        raise ConfigError(f"{labels}: {_unusable(run, counts)}")
    stages, extra = tuple(run.config.judge.stages), run.config.build.extra_stages
    asked = (*stages, *(stage for stage in extra if all(stage in one.votes for one in known.judged)))
    share_right = _share(
        [(sum(one.right for one in group), len(group)) for group in _by_question(known.judged)]
    )
    return {
        "run": str(run.path),
        "labels": str(labels),
        "counts": asdict(counts),
        "share_right": asdict(share_right),
        "stages": list(stages),
        "votes": run.config.judge.votes,
        "judges": [asdict(one) for one in grid(known.judged, stages, asked, run.config.judge.votes)],
        "agreement": _agreement(known.judged, run.config.generate.candidates),
        "cast": cast_votes.measured(run, built, known.judged),
    }


def _agreement(judged: Sequence[Judged], candidates: int) -> dict[str, Any] | None:
    """Answer agreement as if it were a judge: it accepts the candidates that have their question's commonest
    answer, if at least two have it.

    None where no question has answers that can be compared (code).
    """
    compared = [replace(one, votes={AGREEMENT: (one.agrees,)}) for one in judged if one.agrees is not None]
    if not compared:
        return None
    found = quality(compared, AGREEMENT, (AGREEMENT,), 1, "unanimous")
    return asdict(found) | {"votes": candidates, "rule": "plurality"}


def _unusable(run: RunDir, counts: Counts) -> str:
    """Why no label can be used, and what to do."""
    if counts.lazy_questions:
        return (
            f"none of its {counts.labelled_questions} questions can be used: {counts.unknown_questions} are not in"
            f" {run.path}, {counts.lazy_questions} were not asked exhaustively there; ask for the rest with:"
            f" veridistill build --out {run.path} -o build.asks=exhaustive"
        )
    if counts.unknown_questions == counts.labelled_questions:
        return (
            f"none of its {counts.labelled_questions} ids is a seed of {run.path}; ids are those of"
            f" rounds/1/tables/seeds.parquet there (without seeds.id, hashes of the questions)"
        )
    return (
        f"none of its labels is of a well-formed candidate that could be graded ({counts.malformed} malformed,"
        f" {counts.ungraded} not graded, {counts.unknown_candidates} of no candidate)"
    )


def grid(judged: Sequence[Judged], stages: Sequence[str], alone: Sequence[str], votes: int) -> list[Quality]:
    """The cascade of `stages`, then each of `alone`, by rule and number of votes (the first ones), most first."""
    return [
        quality(judged, name, members, num, rule)
        for name, members in ((CASCADE, tuple(stages)), *((stage, (stage,)) for stage in alone))
        for rule in get_args(Rule)
        for num in range(votes, 0, -1)
        if num > 2 or rule == "unanimous"  # the majority of one or two is all of them
    ]


def quality(judged: Sequence[Judged], name: str, stages: Sequence[str], votes: int, rule: Rule) -> Quality:
    """One judge on labelled candidates: `stages` must all pass, each on its first `votes` votes."""
    pairs: dict[str, list[tuple[int, int]]] = {
        "precision": [],
        "recall": [],
        "false_accepts": [],
        "first_valid": [],
    }
    accepted_in_all: list[Judged] = []
    for group in _by_question(judged):
        accepted = [one for one in group if all(passes(one.votes[stage][:votes], rule) for stage in stages)]
        right, right_accepted = sum(one.right for one in group), sum(one.right for one in accepted)
        pairs["precision"].append((right_accepted, len(accepted)))
        pairs["recall"].append((right_accepted, right))
        pairs["false_accepts"].append((len(accepted) - right_accepted, len(group) - right))
        pairs["first_valid"].append((int(bool(accepted) and accepted[0].right), int(bool(accepted))))
        accepted_in_all += accepted
    return Quality(
        name,
        votes,
        rule,
        accepted=len(accepted_in_all),
        accepted_right=sum(one.right for one in accepted_in_all),
        questions_kept=sum(size for _, size in pairs["first_valid"]),
        **{measure: _share(found) for measure, found in pairs.items()},
    )


def passes(votes: Sequence[bool], rule: Rule) -> bool:
    """Whether a stage passes: all yes, or more than half. An invalid vote is not a yes."""
    return all(votes) if rule == "unanimous" else 2 * sum(votes) > len(votes)


def _by_question(judged: Iterable[Judged]) -> list[list[Judged]]:
    groups: dict[str, list[Judged]] = {}
    for one in sorted(judged, key=lambda one: one.index):
        groups.setdefault(one.seed_id, []).append(one)
    return list(groups.values())


def _share(found: Iterable[tuple[int, int]]) -> Share:
    """Candidates of one question resemble each other, so questions are the sampling unit."""
    clustered = Clustered()
    for hits, size in found:
        clustered.add(hits, size)
    return clustered.share


# --- for people -------------------------------------------------------------------------------------------------


def table(found: dict[str, Any]) -> str:
    """What `audit` found, for a terminal. Shares in %, 95 % intervals in brackets."""
    counts = found["counts"]
    lines = [
        f"{counts['candidates']:,} well-formed candidates of {counts['questions']:,} questions, labelled and asked"
        f" exhaustively; {counts['right']:,} of them right: {_percent(found['share_right'])}",
        f"left out: {counts['unknown_questions']:,} labelled questions that the run does not hold,"
        f" {counts['lazy_questions']:,} asked lazily; {counts['unlabelled']:,} candidates without a label,"
        f" {counts['ungraded']:,} not graded, {counts['malformed']:,} malformed"
        f" ({counts['malformed_right']:,} of them right); {counts['unknown_candidates']:,} labels of no candidate",
        "",
        f"{'judge':18} {'rule':10} {'v':>2} {'accepted':>8}  {'precision':21} {'recall':21} {'false accepts':21}"
        f" {'first valid right':21}",
    ]
    for one in [*found["judges"], *([found["agreement"]] if found["agreement"] else [])]:
        cells = [_percent(one[name]) for name in ("precision", "recall", "false_accepts", "first_valid")]
        lines.append(
            f"{one['judge']:18} {one['rule']:10} {one['votes']:2} {one['accepted']:8,}  "
            + " ".join(f"{cell:21}" for cell in cells)
        )
    return "\n".join(line.rstrip() for line in [*lines, "", *cast_votes.lines(found["cast"])])


def _percent(share: dict[str, float | None]) -> str:
    if share["rate"] is None or share["low"] is None or share["high"] is None:
        return "-"
    return f"{100 * share['rate']:.1f} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"
