"""How far the judges of two runs agree: on candidates that both runs sampled and judged.

A candidate's verdict is known although votes stop early. A stage's is known where it has all of its votes, or one that
is not yes; elsewhere the stage is left out. Candidates that a build judged are those that its order of asking came to,
so these are no rates of all candidates.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from veridistill.audit.shares import Clustered
from veridistill.data import tables
from veridistill.runs.diff.kept import Built

Key = tuple[str, int]
"""A candidate: seed_id and index."""
_JUDGED = ("accepted", "rejected", "unjudged")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Yes and no on the same candidates: `agreed` is a share with its 95 % interval over questions.

    `kappa` is Cohen's: how far they agree beyond what two judges with these rates of yes do by chance; None where
    chance alone reaches it all.
    """

    both: int
    a_only: int
    b_only: int
    neither: int
    agreed: Mapping[str, Any]
    kappa: float | None

    @property
    def num(self) -> int:
        return self.both + self.a_only + self.b_only + self.neither


@dataclass(frozen=True, slots=True)
class Verdicts:
    """`common`: candidates with the same text in both runs; `accepted`: those that both judged; then each stage."""

    common: int
    accepted: Agreement | None
    stages: Mapping[str, Agreement]


def compare(a: Built, b: Built) -> Verdicts:
    common = set(_common(a, b))
    first, second = _verdicts(a, common), _verdicts(b, common)
    stages = [stage for stage in a.stages if stage in b.stages]
    judged = (_stages(a, first.keys() & second.keys()), _stages(b, first.keys() & second.keys()))
    by_stage = {stage: agreement(*(_of_stage(side, stage) for side in judged)) for stage in stages}
    return Verdicts(
        common=len(common),
        accepted=agreement(first, second),
        stages={stage: found for stage, found in by_stage.items() if found is not None},
    )


def agreement(a: Mapping[Key, bool], b: Mapping[Key, bool]) -> Agreement | None:
    """Over the candidates in both; None without any."""
    counts: Counter[tuple[bool, bool]] = Counter()
    share = Clustered()
    keys = sorted(a.keys() & b.keys())
    for _, group in groupby(keys, key=lambda key: key[0]):
        pairs = [(a[key], b[key]) for key in group]
        counts.update(pairs)
        share.add(sum(one == other for one, other in pairs), len(pairs))
    if not keys:
        return None
    both, a_only, b_only, neither = (
        counts[pair] for pair in ((True, True), (True, False), (False, True), (False, False))
    )
    return Agreement(
        both, a_only, b_only, neither, asdict(share.share), _kappa(both, a_only, b_only, neither)
    )


def _kappa(both: int, a_only: int, b_only: int, neither: int) -> float | None:
    """(p_o - p_e) / (1 - p_e) (Cohen 1960)."""
    num = both + a_only + b_only + neither
    yes_a, yes_b = (both + a_only) / num, (both + b_only) / num
    chance = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
    return None if chance == 1 else ((both + neither) / num - chance) / (1 - chance)


def _common(a: Built, b: Built) -> Iterator[Key]:
    """Candidates with the same index and text."""
    for seed_id, ones in a.candidates.items():
        texts = {other.place: other.text for other in b.candidates.get(seed_id, ())}
        yield from ((seed_id, one.place) for one in ones if texts.get(one.place) == one.text)


def _verdicts(built: Built, wanted: set[Key]) -> dict[Key, bool]:
    """Whether each judged candidate was accepted."""
    return {
        (seed_id, one.place): one.outcome == "accepted"
        for seed_id, ones in built.candidates.items()
        for one in ones
        if one.outcome in _JUDGED and (seed_id, one.place) in wanted
    }


def _stages(built: Built, wanted: Iterable[Key]) -> dict[tuple[Key, str], bool]:
    """Whether a candidate passed a stage, where that is known."""
    wanted, cast = set(wanted), defaultdict[tuple[Key, str], list[bool]](list)
    rows = tables.VOTES.values(built.tables / "votes.parquet", "seed_id", "candidate", "stage", "ballot")
    for seed_id, index, stage, ballot in rows:
        if (seed_id, index) in wanted:
            cast[(seed_id, index), stage].append(ballot == "yes")
    return {
        place: all(votes) for place, votes in cast.items() if not all(votes) or len(votes) == built.num_votes
    }


def _of_stage(found: Mapping[tuple[Key, str], bool], stage: str) -> dict[Key, bool]:
    return {key: passed for (key, one), passed in found.items() if one == stage}
