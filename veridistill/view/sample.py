"""Which candidate to label next, and how right the accepted ones are by the labels so far.

Accepted and rejected candidates are each drawn in an order of their own, by a hash of question and index. Only the
labels up to the first candidate of that order that has none count: they are a random sample, whatever else was labelled
while reading. Candidates labelled unsure are passed over, and counted apart.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from veridistill.audit.shares import Clustered, Share
from veridistill.view.index import item_of
from veridistill.view.items import STRATA, Item, Stratum, rank

AHEAD = 3
"""Labels by which one stratum may be ahead of the other."""

Labels = Mapping[tuple[str, int], bool | None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The sample of one stratum so far. `share`: of its candidates, those that are right, with the 95 % interval over
    questions. `next`: the candidate to label, None when all are; `size`: how many candidates there are.
    """

    stratum: Stratum
    size: int
    right: int
    wrong: int
    unsure: int
    share: Share
    next: tuple[Item, int] | None

    @property
    def labelled(self) -> int:
        return self.right + self.wrong + self.unsure


@dataclass(frozen=True, slots=True)
class Sample:
    """Both strata; `elsewhere`: labels that the sample has not come to, which do not count."""

    strata: tuple[Drawn, ...]
    elsewhere: int

    @property
    def next(self) -> tuple[Drawn, Item, int] | None:
        """Of either stratum, in an order that does not give away which; the one that is far behind comes first."""
        turn = rank("turn", sum(one.labelled for one in self.strata)) % 2
        first, second = self.strata[turn], self.strata[1 - turn]
        if first.labelled - second.labelled >= AHEAD:
            first, second = second, first
        for one in (first, second):
            if one.next is not None:
                return one, *one.next
        return None

    def of(self, stratum: Stratum) -> Drawn:
        return next(one for one in self.strata if one.stratum == stratum)


def sample(connection: sqlite3.Connection, labels: Labels) -> Sample:
    strata = tuple(_drawn(connection, stratum, labels) for stratum in STRATA)
    return Sample(strata, len(labels) - sum(one.labelled for one in strata))


def _drawn(connection: sqlite3.Connection, stratum: Stratum, labels: Labels) -> Drawn:
    words: dict[str, list[bool]] = defaultdict(list)
    unsure, following = 0, None
    for item_no, key, candidate in _order(connection, stratum):
        if (key, candidate) not in labels:
            row = connection.execute("SELECT * FROM items WHERE no = ?", (item_no,)).fetchone()
            following = item_of(row), candidate
            break
        word = labels[key, candidate]
        if word is None:
            unsure += 1
        else:
            words[key].append(word)
    found = Clustered()
    for one in words.values():
        found.add(sum(one), len(one))
    (size,) = connection.execute("SELECT count(*) FROM draws WHERE stratum = ?", (stratum,)).fetchone()
    return Drawn(stratum, size, found.hits, found.size - found.hits, unsure, found.share, following)


def _order(connection: sqlite3.Connection, stratum: Stratum) -> Iterator[tuple[int, str, int]]:
    yield from connection.execute(
        "SELECT draws.no, items.key, draws.candidate FROM draws JOIN items USING (no) WHERE stratum = ? ORDER BY rank",
        (stratum,),
    )
