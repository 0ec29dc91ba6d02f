"""What the report shows of single questions, and which questions it shows.

Frozen records of plain text; `gather` fills them from the tables and the journal.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from veridistill.records import Ballot, Outcome, Verdict


@dataclass(frozen=True, slots=True)
class VoteView:
    """One vote with the raw replies behind it, in the order of the asks (inference, comparison, re-asks)."""

    stage: str
    index: int
    ballot: Ballot
    reason: str = ""
    replies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CandidateView:
    """One candidate. `answer` is what judges saw; `text` is the raw output, reasoning included."""

    index: int
    outcome: Outcome
    rejected_by: str | None
    kept: bool
    answer: str
    text: str
    votes: tuple[VoteView, ...] = ()


@dataclass(frozen=True, slots=True)
class ExampleView:
    """One seed question with its candidates, by sampling index."""

    seed_id: str
    question: str
    candidates: tuple[CandidateView, ...] = ()


def choose(verdicts: Iterable[Verdict], count: int = 20) -> list[str]:
    """The seed ids of at most `count` questions to show: a mix of all fates, the same for equal verdicts.

    Fates (accepted, rejected at each stage, each defect of malformed ones, unjudged) take turns; within a
    fate questions come in the order of a hash of their id, which depends on neither file order nor completion order.
    """
    fates: dict[tuple[str, str], set[str]] = defaultdict(set)
    for verdict in verdicts:
        if verdict.outcome != "skipped":
            fates[verdict.outcome, verdict.rejected_by or ""].add(verdict.seed_id)
    queues = [sorted(fates[fate], key=_shuffled, reverse=True) for fate in sorted(fates)]
    chosen: list[str] = []
    while any(queues) and len(chosen) < count:
        for queue in queues:
            while queue and queue[-1] in chosen:
                queue.pop()
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    return chosen


def _shuffled(seed_id: str) -> bytes:
    return hashlib.blake2b(seed_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
