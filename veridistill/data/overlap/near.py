"""Near duplicates among the seed questions: the same question in slightly other words.

MinHash only proposes pairs. A pair counts when its exact Jaccard similarity reaches the threshold *and* both say the
same numbers, operators, variables and decisive words ("not", "largest", "sin") in the same order: "2+3" and "2+5" are
two questions however long the text around them is.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from veridistill.data.overlap import Overlap, excerpt
from veridistill.data.overlap.words import is_operator, tokens
from veridistill.errors import missing_extra
from veridistill.records import Seed

SHINGLE = 5
_PERMUTATIONS = 128
_SEED = 1
_MISSED = 0.001
"""A pair right at the threshold may be missed with this probability."""

# One of these exchanged for another makes another question of the same words.
_DECISIVE_WORDS = """
    no not never none without except only least most exactly more less fewer greater smaller larger before
    after maximum minimum max min largest smallest greatest longest shortest highest lowest first last next
    previous sum difference product quotient ratio remainder mean median mode range average total area
    perimeter volume radius diameter circumference length width height inside outside even odd prime
    composite positive negative nonnegative increasing decreasing increases decreases ascending descending
    true false all any some every same different distinct distinguishable indistinguishable ordered
    unordered rational irrational real complex integer integers sin cos tan cot sec csc sinh cosh tanh
    arcsin arccos arctan log ln lg exp gcd lcm floor ceil lfloor lceil left right up down north south east
    west half third quarter double twice triple thrice squared cubed zero one two three four five six seven
    eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty
    forty fifty sixty seventy eighty ninety hundred thousand million billion monday tuesday wednesday
    thursday friday saturday sunday
"""
_DECISIVE = frozenset(_DECISIVE_WORDS.split())


@dataclass(frozen=True, slots=True)
class _Question:
    """A question's shingles and what decides its answer."""

    seed: Seed
    shingles: frozenset[tuple[str, ...]]
    decisive: tuple[str, ...]


def near_duplicates(seeds: Sequence[Seed], threshold: float) -> list[Overlap]:
    """The questions that are near duplicates of an earlier one, in order.

    `threshold`: Jaccard similarity of the sets of 5-grams of tokens (questions shorter than 5 tokens are one gram). A
    question is compared with those before it that are not near duplicates themselves. The same seeds give the same
    result: permutations and hashes are fixed. Needs datasketch: raises `MissingExtra`.
    """
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    questions = [_question(seed) for seed in seeds]
    for number, question in enumerate(questions):
        groups[question.decisive].append(number)
    # Only questions that agree in everything decisive can be the same: most questions have no such partner.
    crowds = [group for group in groups.values() if len(group) > 1]
    found: dict[int, Overlap] = {}
    for group in crowds:
        found |= _in_group(group, questions, threshold)
    return [found[number] for number in sorted(found)]


def _question(seed: Seed) -> _Question:
    found = tokens(seed.question)
    last = max(len(found) - SHINGLE, 0)
    shingles = frozenset(tuple(found[i : i + SHINGLE]) for i in range(last + 1))
    return _Question(seed, shingles, tuple(filter(_decides, found)))


def _decides(token: str) -> bool:
    if len(token) == 1 and token.isascii() and token.isalpha():
        return token not in "ai"  # "a" is an article nearly always
    return token in _DECISIVE or token[0].isdigit() or is_operator(token)


def _in_group(group: Sequence[int], questions: Sequence[_Question], threshold: float) -> dict[int, Overlap]:
    """Near duplicates among questions that agree in what is decisive."""
    index, found = _Index(threshold), dict[int, Overlap]()
    for number in group:
        question = questions[number]
        sketch = index.sketch(question.shingles)
        for earlier in index.similar(sketch):
            similarity = _jaccard(question.shingles, questions[earlier].shingles)
            if similarity >= threshold:
                found[number] = _overlap(question, questions[earlier], similarity)
                break
        else:
            index.add(number, sketch)
    return found


def _jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def _overlap(question: _Question, earlier: _Question, similarity: float) -> Overlap:
    return Overlap(
        seed_id=question.seed.seed_id,
        source=question.seed.source,
        rule="near_duplicate",
        action="dropped",
        benchmark="seeds",
        problem_id=earlier.seed.seed_id,
        share=round(similarity, 4),
        shared="",
        question=excerpt(question.seed.question),
        other=excerpt(earlier.seed.question),
    )


class _Index:
    """datasketch's MinHash LSH, with bands that miss hardly any pair at the threshold."""

    def __init__(self, threshold: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise missing_extra("seeds.near_duplicates", "eval") from None
        self._minhash = MinHash(num_perm=_PERMUTATIONS, seed=_SEED, scheme="affine32", hashfunc=_hash)
        self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=bands(threshold))

    def sketch(self, shingles: frozenset[tuple[str, ...]]) -> Any:
        minhash = self._minhash.copy()
        minhash.update_batch(shingles)
        return minhash

    def add(self, number: int, sketch: Any) -> None:
        self._lsh.insert(number, sketch, check_duplication=False)

    def similar(self, sketch: Any) -> list[int]:
        """Earlier questions that may be similar, the earliest first."""
        return sorted(self._lsh.query(sketch))


def bands(threshold: float) -> tuple[int, int]:
    """Bands and rows: the most rows (fewest false candidates) that miss a pair at the threshold at most 1 in 1,000.

    A pair of similarity s meets in one of b bands of r rows with probability 1 - (1 - s^r)^b (Leskovec, Rajaraman and
    Ullman, Mining of Massive Datasets, section 3.4).
    """
    fitting = [
        rows
        for rows in range(1, _PERMUTATIONS + 1)
        if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSED
    ]
    rows = max(fitting, default=1)
    return _PERMUTATIONS // rows, rows


def _hash(shingle: tuple[str, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(shingle).encode(), digest_size=4).digest(), "little")
