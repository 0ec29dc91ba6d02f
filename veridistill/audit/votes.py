"""What became of the votes on labelled candidates: invalid ones by cause, follow-ups and what they decided, tokens.

The tables hold how each vote ended; how it began (before follow-ups and re-asks) is read off the journal's replies, by
the rule that read them in the build. `judges` measures verdicts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from veridistill.audit.labelled import Judged
from veridistill.audit.shares import Clustered
from veridistill.calls.journal import Entry, Reader
from veridistill.data.rundir import RoundDir, RunDir, forked_journals, read_json
from veridistill.data.tables import VOTES, VoteRow
from veridistill.decide import CUT, NO_REFERENCE, NO_VERDICT, read_verdict

_CAUSES = {
    CUT: "truncated",
    NO_VERDICT: "no_verdict",
    "contradictory verdicts": "contradictory",
    "verdict in a code block": "code_block",
    "no question inferred": "no_question_inferred",
    NO_REFERENCE: "no_reference_solution",
    "no reasoning": "reasoning",
    "reasoning not closed": "reasoning",
}

_OPENING = {"infer": "no question inferred", "reference": NO_REFERENCE}
"""Roles that come before a vote, and why it is invalid when they give nothing."""
_VOTING = ("compare", "factuality", "correctness", "simple")

Place = tuple[str | int, ...]
Attempts = dict[int, dict[str, Entry]]
"""The replies to one vote: by attempt, then by role."""


def cause(reason: str) -> str:
    """A short name for why a vote is invalid; `other_finish` is any finish reason but stop and length."""
    if reason.startswith("refused"):
        return "refused"
    return _CAUSES.get(reason, "other_finish")


@dataclass
class Tally:
    """Sums over votes. `right`: how often a yes or a no is right, by how it was decided, over questions."""

    votes: int = 0
    first_invalid: Counter[str] = field(default_factory=Counter)
    last_invalid: Counter[str] = field(default_factory=Counter)
    followed_up: int = 0
    decided: int = 0
    calls: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    by_stage: Counter[str] = field(default_factory=Counter)
    right: dict[tuple[str, str], Clustered] = field(default_factory=lambda: defaultdict(Clustered))


def measured(run: RunDir, folder: RoundDir, judged: Sequence[Judged]) -> dict[str, Any] | None:
    """The figures, as `docs/evaluation.md` has them; None where the journal is not there any more."""
    journals = [path for path in forked_journals(run.path) if path.is_file()]
    if not journals:
        return None
    judge = read_json(run.results)["rounds"][int(folder.path.name) - 1]["judge"]
    rows: dict[str, list[VoteRow]] = defaultdict(list)
    labelled = {(one.seed_id, one.index): one.right for one in judged}
    for row in VOTES.read(folder.tables / "votes.parquet"):
        if (row.seed_id, row.candidate) in labelled:
            rows[row.seed_id].append(row)
    tally, reader = Tally(), Reader(journals)
    try:
        for seed_id, cast in rows.items():
            replies = reader.replies(seed_id).values()
            known = _attempts(entry for entry in replies if entry.model == judge["model"])
            _add(tally, cast, known, labelled, judge["reasons"])
    finally:
        reader.close()
    return _figures(tally)


def _attempts(entries: Iterable[Entry]) -> dict[Place, Attempts]:
    found: dict[Place, Attempts] = defaultdict(lambda: defaultdict(dict))
    for entry in entries:
        if len(entry.path) == 5:
            found[entry.path[:4]][int(entry.path[4])][entry.role] = entry
    return found


def _add(
    tally: Tally,
    rows: Sequence[VoteRow],
    known: dict[Place, Attempts],
    labelled: dict[tuple[str, int], bool],
    reasons: bool,
) -> None:
    """The votes of one question, whose candidates share the reference solutions."""
    references = {place[2:]: attempts for place, attempts in known.items() if place[1] == "reference"}
    for (stage, _), attempts in references.items():
        for replies in attempts.values():
            _count(tally.calls[str(stage)]["reference"], replies["reference"])
    agreeing: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in rows:
        attempts = known.get((row.seed_id, row.candidate, row.stage, row.index), {})
        tally.votes += 1
        tally.by_stage[row.stage] += 1
        tally.followed_up += any("verdict" in replies for replies in attempts.values())
        if (reason := _first_reason(_opening(references, row) | attempts.get(0, {}), reasons)) is not None:
            tally.first_invalid[cause(reason)] += 1
        for replies in attempts.values():
            for role, entry in replies.items():
                _count(tally.calls[row.stage][role], entry)
        if row.ballot == "invalid":
            tally.last_invalid[cause(row.reason)] += 1
            continue
        how = "followed_up" if attempts and "verdict" in attempts[max(attempts)] else "direct"
        tally.decided += how == "followed_up"
        right = labelled[row.seed_id, row.candidate] == (row.ballot == "yes")
        agreeing[how, row.ballot].append(right)
    for key, found in agreeing.items():
        tally.right[key].add(sum(found), len(found))


def _opening(references: dict[Place, Attempts], row: VoteRow) -> dict[str, Entry]:
    """The reference solution that the first attempt of a vote starts from, if it does."""
    return references.get((row.stage, row.index), {}).get(0, {})


def _first_reason(replies: dict[str, Entry], reasons: bool) -> str | None:
    """Why a vote's first reply is invalid; None when it is valid, or not in the journal."""
    entry = next((entry for role, entry in replies.items() if role in _VOTING), None)
    if entry is None:
        return next((_unopened(replies[role], role) for role in _OPENING if role in replies), None)
    if entry.status == "refused":
        return "refused"
    reading = read_verdict(entry.completion, reasons)
    return reading.reason if reading.ballot == "invalid" else None


def _unopened(entry: Entry, role: str) -> str:
    """Why a vote ended before it was asked for."""
    return "refused" if entry.status == "refused" else _OPENING[role]


def _count(calls: Counter[str], entry: Entry) -> None:
    calls["calls"] += 1
    calls["prompt"] += entry.completion.prompt_tokens
    calls["completion"] += entry.completion.completion_tokens


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        "votes": tally.votes,
        "invalid_at_first": dict(sorted(tally.first_invalid.items())),
        "invalid_in_the_end": dict(sorted(tally.last_invalid.items())),
        "followed_up": tally.followed_up,
        "decided_by_follow_up": tally.decided,
        "right": {
            how: {
                ballot: {
                    "votes": tally.right[how, ballot].size,
                    **asdict(tally.right[how, ballot].share),
                }
                for ballot in ("yes", "no")
            }
            for how in ("direct", "followed_up")
        },
        "per_vote": {
            stage: {
                role: {name: round(num / tally.by_stage[stage], 3) for name, num in calls.items()}
                for role, calls in sorted(roles.items())
            }
            for stage, roles in sorted(tally.calls.items())
        },
    }


def lines(found: dict[str, Any] | None) -> list[str]:
    """The figures, for a terminal."""
    if found is None:
        return ["votes: the journal is not there, so how they came about is not known"]
    whole = max(found["votes"], 1)
    shown = [f"{found['votes']:,} votes on these candidates"]
    for name, when in (("invalid_at_first", "at first"), ("invalid_in_the_end", "in the end")):
        causes = ", ".join(f"{num:,} {cause.replace('_', ' ')}" for cause, num in found[name].items())
        num = sum(found[name].values())
        shown.append(f"invalid {when}: {num:,} ({num / whole:.1%}){': ' if causes else ''}{causes}")
    shown.append(
        f"followed up: {found['followed_up']:,}, of which {found['decided_by_follow_up']:,} decided by the follow-up"
    )
    for how, by_ballot in found["right"].items():
        parts = [f"{one['votes']:,} {ballot}, right {_share(one)}" for ballot, one in by_ballot.items()]
        shown.append(
            f"votes decided {'by a follow-up' if how == 'followed_up' else 'directly'}: {'; '.join(parts)}"
        )
    for stage, roles in found["per_vote"].items():
        parts = [
            f"{role} {one['calls']:.2f} calls, {one['prompt']:.0f} + {one['completion']:.0f} tokens"
            for role, one in roles.items()
        ]
        shown.append(f"a vote of {stage}: {'; '.join(parts)}")
    return shown


def _share(one: dict[str, Any]) -> str:
    return "-" if one["rate"] is None else f"{one['rate']:.1%} [{one['low']:.1%}, {one['high']:.1%}]"
