"""What the report shows of single questions, and which questions it shows.

Frozen records of plain text; `gather` fills them from the tables and the journal.
"""

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

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
    domain: str = ""
    candidates: tuple[CandidateView, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """What the page filters by: domain, fate of the question, outcomes and ending stages of its candidates."""
        fate = "kept" if any(one.kept for one in self.candidates) else "nothing-kept"
        outcomes = [one.outcome for one in self.candidates]
        ended = [f"by-{one.rejected_by}" for one in self.candidates if one.rejected_by]
        found = dict.fromkeys([f"domain-{self.domain}"] * bool(self.domain) + [fate, *outcomes, *ended])
        return tuple("-".join(tag.split()) for tag in found)


T_co = TypeVar("T_co", covariant=True)


class Views(Protocol[T_co]):
    """Things to show, one by one; their number is known before."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


def choose(verdicts: Iterable[Verdict], count: int = 200) -> list[str]:
    """The seed ids of at most `count` questions to show: a mix of all fates, the same for equal verdicts.

    Fates (accepted, rejected at each stage, each defect of malformed ones, unjudged) take turns; within a
    fate questions come in the order of a hash of their id, which depends on neither file order nor completion order.
    Memory does not grow with the verdicts.
    """
    fates: dict[tuple[str, str], dict[str, bytes]] = defaultdict(dict)
    for verdict in verdicts:
        if verdict.outcome != "skipped":
            ids = fates[verdict.outcome, verdict.rejected_by or ""]
            ids[verdict.seed_id] = _shuffled(verdict.seed_id)
            if len(ids) > 8 * count:
                _keep_first(ids, 2 * count)  # other fates may take `count` of them, and no more
    queues = [sorted(fates[fate], key=_shuffled, reverse=True) for fate in sorted(fates)]
    chosen: dict[str, None] = {}
    while any(queues) and len(chosen) < count:
        for queue in queues:
            while queue and queue[-1] in chosen:
                queue.pop()
            if queue and len(chosen) < count:
                chosen[queue.pop()] = None
    return list(chosen)


def _keep_first(ids: dict[str, bytes], count: int) -> None:
    last = heapq.nsmallest(count, ids.values())[-1]
    for seed_id in [seed_id for seed_id, place in ids.items() if place > last]:
        del ids[seed_id]


def _shuffled(seed_id: str) -> bytes:
    return hashlib.blake2b(seed_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
