"""Canaries: answers known to be bad, judged by the same cascade, to measure false accepts in every run.

A small share of the questions, chosen by hash, gets one canary each. Its kinds:

    swapped   the model's own answer to another question: well written, but on another subject
    restated  the question repeated as if it were its solution, without one (aimed at cycle consistency, which asks
              only whether the question can be inferred from the answer)
    empty     confident in every sentence, but without content (arXiv 2507.08794)

A canary is judged after its question, through the same `ask`, under an index below zero, so that its requests differ
from all others. It is never kept: no function here returns a candidate. `method` and `cascade` define which votes are
asked and how they are read.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from veridistill.audit.shares import share_of
from veridistill.config import BuildSection
from veridistill.data.overlap.words import is_word, tokens
from veridistill.decide import defect, ended_by, outcome, split
from veridistill.domains import DOMAINS
from veridistill.errors import RequestRefused
from veridistill.lazy import Ask, every
from veridistill.method import Plan, ballots, solve_prompt
from veridistill.records import Candidate, Completion, Domain, Outcome, Seed, Vote

Kind = Literal["swapped", "restated", "empty"]
NearMiss = Literal["near_miss"]
INDEX: dict[Kind, int] = {"swapped": -1, "restated": -2, "empty": -3}
"""Where the requests of each kind stand in the place of a candidate's index; real candidates count from 0."""
_TRIES = 32

_RESTATED = """We are given the following, and it is what has to be found:

{question}

Everything that the question states has been used as it stands, each condition in its turn, and the wanted result
follows from these conditions directly. This settles the question completely.

"""
_EMPTY = """Thought process: let us solve this step by step. First the given facts are written down carefully. Then the
suitable method is applied to them, every step is checked, and all conditions hold. The result that follows is
therefore the right one, and it is complete.

"""
# A final answer that passes the static check and cannot be right.
_FINAL: dict[Domain, str] = {
    "math": "\\boxed{\\text{the required value}}",
    "science": "\\boxed{\\text{the right choice}}",
    "code": "```python\n# the required program\n```",
}


@dataclass(frozen=True, slots=True)
class Planted:
    """The outcome of one canary. "malformed": there was no well-formed answer to swap, and no judge was asked.

    `tokens`: completion tokens that the canary cost.
    """

    seed_id: str
    kind: Kind | NearMiss
    outcome: Outcome
    rejected_by: str | None
    tokens: int


def chosen(seed_id: str, share: float) -> bool:
    """Whether a question gets a canary: by hash, the same in every run and resume."""
    return drawn(seed_id, b"canary") < share


def drawn(seed_id: str, purpose: bytes) -> float:
    """A number in [0, 1) as a hash of a question and a purpose."""
    return _hash(seed_id, purpose) / 2**64


def share(section: BuildSection, plan: Plan) -> float:
    """The share of questions with a canary; none where nothing is judged."""
    return section.canary_share if plan.selection != "unfiltered" else 0.0


def kind_of(seed_id: str) -> Kind:
    """Half are swapped, the most natural kind; the others share the rest."""
    kinds: tuple[Kind, ...] = ("swapped", "swapped", "restated", "empty")
    return kinds[_hash(seed_id, b"canary.kind") % len(kinds)]


def other_than(seed: Seed, seeds: Sequence[Seed]) -> Seed | None:
    """Another question, chosen by hash, that shares few words with this one, so that its answer cannot fit both.

    None when none of 32 drawn ones is that different; questions made from few words, such as sums, have no such other.
    """
    own = _vocabulary(seed)
    for number in range(_TRIES):
        other = seeds[_hash(f"{seed.seed_id}/{number}", b"canary.other") % len(seeds)]
        theirs = _vocabulary(other)
        if len(own & theirs) <= min(len(own), len(theirs)) / 2 and other.seed_id != seed.seed_id:
            return other
    return None


async def plant(seed: Seed, other: Seed | None, ask: Ask, plan: Plan) -> Planted:
    """Have one canary judged by the plan's cascade, lazily. Without `other` a swapped one becomes an empty one."""
    kind = kind_of(seed.seed_id)
    kind = "empty" if kind == "swapped" and other is None else kind
    own = ask.under(None)
    return await judged(kind, seed, await _candidate(seed, kind, other, own, plan), own, plan)


async def judged(kind: Kind | NearMiss, seed: Seed, candidate: Candidate, own: Ask, plan: Plan) -> Planted:
    """Have a candidate that is no real one judged; `own` is an `Ask` for it alone."""
    if defect(candidate.completion, DOMAINS[seed.domain].answer_of, reasoning=False):
        return Planted(seed.seed_id, kind, "malformed", None, own.spent)
    # Separate labels, so that canaries do not change the rates that the gate learns from real candidates.
    branches = [
        replace(branch, label=f"canary/{branch.label}")
        for branch in ballots(seed, candidate, plan.stages, plan)
    ]
    votes: list[Vote] = await every(branches, own)
    return Planted(seed.seed_id, kind, outcome(votes), ended_by(votes), own.spent)


async def _candidate(seed: Seed, kind: Kind, other: Seed | None, ask: Ask, plan: Plan) -> Candidate:
    index = INDEX[kind]
    if kind == "swapped" and other is not None:
        try:
            path = (seed.seed_id, index, other.seed_id)
            reply = await ask("solve", path, solve_prompt(other, plan), plan.sampling)
        except RequestRefused:
            reply = Completion("", "refused", 0, 0)
    else:
        story = _RESTATED.replace("{question}", seed.question) if kind == "restated" else _EMPTY
        reply = Completion(story + _FINAL[seed.domain], "stop", 0, 0)
    return Candidate(seed.seed_id, index, split(reply.text).answer, reply)


@dataclass
class Canaries:
    """Counts over a build, fed in any order."""

    outcomes: dict[Kind, Counter[Outcome]] = field(default_factory=dict)
    ended_by: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    near: Counter[Outcome] = field(default_factory=Counter)

    def add(self, planted: Planted) -> None:
        if planted.kind == "near_miss":
            self.near[planted.outcome] += 1
            self.tokens += planted.tokens
            return
        self.outcomes.setdefault(planted.kind, Counter())[planted.outcome] += 1
        if planted.rejected_by:
            self.ended_by[planted.rejected_by] += 1
        self.tokens += planted.tokens

    @property
    def judged(self) -> int:
        return sum(counts.total() - counts["malformed"] for counts in self.outcomes.values())

    @property
    def accepted(self) -> int:
        return sum(counts["accepted"] for counts in self.outcomes.values())

    def summary(self) -> dict[str, Any]:
        """`judged`, `accepted` and its share with a 95 % interval (None without any), by kind, by stage that ended."""
        return {
            "judged": self.judged,
            "accepted": self.accepted,
            **asdict(share_of(self.accepted, self.judged)),
            "kinds": {kind: dict(sorted(counts.items())) for kind, counts in sorted(self.outcomes.items())},
            "ended_by": dict(sorted(self.ended_by.items())),
            "tokens": self.tokens,
            "near_miss": self._near_misses(),
        }

    def _near_misses(self) -> dict[str, Any]:
        """Those of changed answers that were judged, apart from the canaries and of no consequence for the build."""
        size = self.near.total() - self.near["malformed"]
        accepted = self.near["accepted"]
        return {"judged": size, "accepted": accepted, **asdict(share_of(accepted, size))}


def fault(summary: dict[str, Any], most: float) -> str | None:
    """Why a build must not be trained on, from its `Canaries.summary`; None when it may be.

    A few canaries prove little, so even the lower end of the interval must be above `most` (quality.max_canaries).
    """
    if summary["low"] is None or summary["low"] <= most:
        return None
    return (
        f"{summary['accepted']} of {summary['judged']} canaries (answers known to be bad) were accepted:"
        f" a false-accept rate above quality.max_canaries={most}"
    )


def _vocabulary(seed: Seed) -> frozenset[str]:
    return frozenset(filter(is_word, tokens(seed.question)))


def _hash(text: str, purpose: bytes) -> int:
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8"), digest_size=8, person=purpose).digest(), "big"
    )
