"""The questions of a round that is built, as entries of an index, in the order of its tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from veridistill.data.parquet import num_rows
from veridistill.data.tables import CANDIDATES, SEEDS, VOTES
from veridistill.view.items import QUESTION, Fate, Item, Text, draws, head, question_facets

_CANDIDATE = ("seed_id", "index", "outcome", "rejected_by", "kept", "answer")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry with its texts."""

    item: Item
    texts: tuple[Text, ...]


def total(files: tuple[Path, ...]) -> int:
    return num_rows(files[0])


def entries(files: tuple[Path, ...]) -> Iterator[Entry]:
    """One for each seed question; `place` is (first row, number of rows) by table. Raises `ConfigError`."""
    seeds, candidates, votes = files
    judged = _Grouped(CANDIDATES.values(candidates, *_CANDIDATE))
    cast = _Grouped(VOTES.values(votes, "seed_id"))
    for row, (seed_id, question, domain) in enumerate(SEEDS.values(seeds, "seed_id", "question", "domain")):
        start, rows = judged.take(seed_id)
        first_vote, votes_of = cast.take(seed_id)
        fates = [Fate(index, outcome, by, kept) for _, index, outcome, by, kept, _ in rows]
        item = Item(
            row + 1,
            seed_id,
            head(question),
            [[one.index, one.outcome, one.by, one.kept] for one in fates],
            {"seeds": [row, 1], "candidates": [start, len(rows)], "votes": [first_vote, len(votes_of)]},
            question_facets(domain, fates),
            draws(fates),
        )
        texts = [Text(item.no, QUESTION, question)]
        texts += [Text(item.no, one.index + 1, answer) for one, (*_, answer) in zip(fates, rows, strict=True)]
        yield Entry(item, tuple(texts))


class _Grouped:
    """The rows of one question after another; a question without rows is passed over."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._groups = groupby(rows, itemgetter(0))
        self._start = 0
        self._next: tuple[str, list[tuple[Any, ...]]] | None = None

    def take(self, seed_id: str) -> tuple[int, list[tuple[Any, ...]]]:
        """The first row of a question, and its rows."""
        if self._next is None and (group := next(self._groups, None)) is not None:
            self._next = group[0], list(group[1])
        if self._next is None or self._next[0] != seed_id:
            return self._start, []
        (_, rows), start = self._next, self._start
        self._next = None
        self._start += len(rows)
        return start, rows
