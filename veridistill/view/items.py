"""The entries of an index: a seed question with its candidates, or an exam's problem with its attempts.

Facets are what entries are filtered by: names such as `domain:math`, of which a filter asks that all be there.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from veridistill.records import Attempt

HEAD = 240
"""Characters of a text that a list shows."""
QUESTION = 0
"""The slot of the question's own text; that of candidate `i` is `i + 1`."""
SLOTS = 1 << 12
"""Texts that an entry may have; further ones are not searched."""
DRAW_SEED = "veridistill view 1"

Stratum = Literal["accepted", "rejected"]
STRATA: tuple[Stratum, ...] = ("accepted", "rejected")


@dataclass(frozen=True, slots=True)
class Text:
    """A text to be searched: of entry `no`, in a slot of its own."""

    no: int
    slot: int
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One entry. Lists are ordered by `no`, from 1 up.

    `key` identifies it in addresses; `head` and `note` are what a list shows; `place` says where its rows are; `draws`
    are the candidates, by index, that may be drawn for labelling. The last two and `note` are JSON values.
    """

    no: int
    key: str
    head: str
    note: Any
    place: Any
    facets: tuple[str, ...]
    draws: tuple[tuple[Stratum, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a candidate, as lists and filters know it; the outcome `open` is of one still being judged."""

    index: int
    outcome: str
    by: str | None
    kept: bool


def question_facets(domain: str, fates: Sequence[Fate], decided: bool = True) -> tuple[str, ...]:
    """Of the question, and of any of its candidates; `end:` joins outcome and stage of the same candidate.

    Whether one is kept is known once it is `decided`.
    """
    kept = "yes" if any(fate.kept for fate in fates) else "no"
    found = {f"domain:{domain}": None} | ({f"kept:{kept}": None} if decided else {})
    for fate in fates:
        found[f"outcome:{fate.outcome}"] = None
        if fate.by:
            found[f"by:{fate.by}"] = None
            found[f"end:{fate.outcome}/{fate.by}"] = None
    return tuple(found)


def draws(fates: Iterable[Fate]) -> tuple[tuple[Stratum, int], ...]:
    return tuple((stratum, fate.index) for fate in fates for stratum in STRATA if fate.outcome == stratum)


def rank(key: str, candidate: int) -> int:
    """The place of a candidate in the order of drawing: 63 bits of a hash, the same in every viewer."""
    text = f"{DRAW_SEED}/{candidate}/{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def head(text: str) -> str:
    """The start of a text, on one line."""
    words = " ".join(text[: 4 * HEAD].split())
    return words if len(words) <= HEAD and len(text) <= 4 * HEAD else words[:HEAD].rstrip() + "…"


@dataclass(frozen=True, slots=True)
class Score:
    """Graded samples of a problem in one exam: how many are right, of how many."""

    right: int
    graded: int

    @classmethod
    def of(cls, attempts: Iterable[Attempt]) -> "Score":
        grades = [attempt.correct for attempt in attempts if attempt.correct is not None]
        return cls(sum(grades), len(grades))

    @property
    def word(self) -> str:
        if not self.graded:
            return "ungraded"
        return {0: "wrong", self.graded: "right"}.get(self.right, "mixed")


def flip(base: Score | None, after: Score | None) -> str | None:
    """Whether training won a problem: a larger share of its samples is right. None unless both exams have it."""
    if base is None or after is None or not base.graded or not after.graded:
        return None
    difference = after.right * base.graded - base.right * after.graded
    return "won" if difference > 0 else "lost" if difference < 0 else "even"
