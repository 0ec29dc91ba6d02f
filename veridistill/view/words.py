"""What pages say of entries, outcomes and samples, in words."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from veridistill.audit.shares import Share
from veridistill.report.values import label
from veridistill.view.items import Fate

EXAMS = {"base": "before training", "after": "after training"}
FLIPS = {"won": "won by training", "lost": "lost by training", "even": "as before"}
SCORES = {"right": "all right", "mixed": "some right", "wrong": "all wrong", "ungraded": "not graded"}
_BEST_FIRST = {"kept": 0, "accepted": 1, "still": 2}
ROLES = {
    "reference": "the judge’s own solution",
    "infer": "question inferred from the answer",
    "compare": "comparison with the question",
    "verdict": "asked for the verdict alone",
}


def fate(one: Fate) -> str:
    """What became of a candidate."""
    if one.outcome == "accepted":
        return "kept" if one.kept else "accepted"
    if one.outcome == "open":
        return "still being judged"
    joint = " by " if one.outcome == "rejected" else ": "
    return one.outcome + (joint + label(one.by) if one.by else "")


def fates(note: Sequence[Sequence[Any]]) -> list[tuple[str, str]]:
    """A question's candidates as (outcome, words), equal ones counted, the best first."""
    found = Counter((fate(Fate(*one)), str(one[1])) for one in note)
    ranked = sorted(found.items(), key=lambda item: _BEST_FIRST.get(item[0][0].partition(" ")[0], 9))
    return [(outcome, words if num == 1 else f"{num} {words}") for (words, outcome), num in ranked]


def score(right: int, graded: int) -> str:
    return f"{right} of {graded} right" if graded else "not graded"


def share(found: Share) -> str:
    """A share with its interval, in percent."""
    if found.rate is None or found.low is None or found.high is None:
        return "–"
    return f"{100 * found.rate:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def role(name: str) -> str:
    return ROLES.get(name, "reply")
