"""An index of the benchmarks' 8-grams, and what a question has in common with each item.

The index holds the smaller set, the benchmarks; the questions are compared with it one by one. `Grams.hits` is called
first, for every question, to count how common each gram is among them; then `Grams.settle` once; then `Grams.of`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from veridistill.data.overlap.words import is_word

SIZE = 8
LONG = 13
"""A sequence of this many shared words is evidence by itself (as for GPT-3, arXiv 2005.14165, appendix C)."""
WORTH_A_LOOK = 0.25
"""Items of which less is covered are skipped: below every rule's threshold, with a margin for common grams."""
_MIN_WORDS = 3
"""A gram with fewer words of prose is a formula or a matrix, of which unrelated problems share many."""

PIECE = 4
"""Words in a common piece of this length are not distinctive, even if the 8-grams around them are rare: adjacent
boilerplate phrases are frequent in contest problems."""

Hits = list[tuple[int, int]]
"""(position in the question, number of the gram)."""


@dataclass(slots=True)
class Match:
    """What a question shares with one item, as positions of 8-grams in the item.

    `all` are the grams in common; `telling` those that count as evidence (specific). `diagonals` has the positions in
    the item of the grams that are not common among the items, by question position minus item position.
    """

    all: set[int]
    telling: set[int] = field(default_factory=set)
    diagonals: dict[int, set[int]] = field(default_factory=dict)

    def stretches(self) -> Iterator[slice]:
        """The longest runs of consecutive words that item and question share."""
        for places in self.diagonals.values():
            for start in places:
                if start - 1 not in places:
                    end = start
                    while end + 1 in places:
                        end += 1
                    yield slice(start, end + SIZE)


def covered(starts: set[int]) -> int:
    """How many words lie in 8-grams that start at these positions."""
    return len({start + offset for start in starts for offset in range(SIZE)})


class Counted:
    """The n-grams of the items, each with the number of questions and whether it is common among the items."""

    def __init__(self, items: Sequence[Sequence[str]], size: int) -> None:
        self.size = size
        self.numbers: dict[tuple[str, ...], int] = {}
        self.places: list[list[tuple[int, int]]] = []
        for item, words in enumerate(items):
            for start, gram in _grams(words, size):
                number = self.numbers.setdefault(gram, len(self.places))
                if number == len(self.places):
                    self.places.append([])
                self.places[number].append((item, start))
        self.questions = [0] * len(self.places)
        # Boilerplate of a benchmark: "where m and n are relatively prime positive integers", "The input is given from".
        most = max(3, len(items) // 300)
        self.common = [len({item for item, _ in places}) > most for places in self.places]

    def hits(self, words: Sequence[str]) -> Hits:
        """The question's grams that some item has too, each counted once for each question."""
        get = self.numbers.get
        found = [
            (start, number) for start, gram in _grams(words, self.size) if (number := get(gram)) is not None
        ]
        for number in {number for _, number in found}:
            self.questions[number] += 1
        return found


class Grams:
    """The 8-grams of the items' words; give equal items once, or their grams look common."""

    def __init__(self, items: Sequence[Sequence[str]]) -> None:
        self.items = items
        self._grams = Counted(items, SIZE)
        self._pieces = Counted(items, PIECE)
        numbers = self._grams.numbers
        self._of_item = [[numbers[gram] for _, gram in _grams(words, SIZE)] for words in items]
        self._anchors: dict[int, list[tuple[int, int]]] = {}
        for item, grams in enumerate(self._of_item):
            if grams:
                start = min(range(len(grams)), key=lambda start: len(self._grams.places[grams[start]]))
                self._anchors.setdefault(grams[start], []).append((item, start))
        self._prose = [sum(map(is_word, gram)) >= _MIN_WORDS for gram in numbers]
        self._telling: list[bool] = []
        self._common_piece: list[bool] = []
        self._own: dict[int, list[bool]] = {}

    def hits(self, words: Sequence[str]) -> Hits:
        """The first pass over a question; it also counts how common the shared grams are."""
        self._pieces.hits(words)
        return self._grams.hits(words)

    def whole(self, words: Sequence[str], hits: Hits) -> Iterator[int]:
        """Items all of whose words the question contains consecutively, each looked for at its rarest gram."""
        for position, number in hits:
            for item, start in self._anchors.get(number, ()):
                first = position - start
                if first >= 0 and list(words[first : first + len(self.items[item])]) == list(
                    self.items[item]
                ):
                    yield item

    def settle(self, most: int) -> None:
        """After the first pass over all questions: a gram in more than `most` of them is boilerplate."""
        grams, pieces = self._grams, self._pieces
        self._telling = [
            prose and count <= most for prose, count in zip(self._prose, grams.questions, strict=True)
        ]
        self._common_piece = [
            common or count > most for common, count in zip(pieces.common, pieces.questions, strict=True)
        ]

    def of(self, hits: Hits) -> dict[int, Match]:
        """The second pass: for each item, what the question shares with it."""
        grams = {number for _, number in hits}
        hits = [hit for hit in hits if not self._grams.common[hit[1]]]
        nums: dict[int, int] = {}
        for _, number in hits:
            for item, _ in self._grams.places[number]:
                nums[item] = nums.get(item, 0) + 1
        # Nearly all questions share one or two grams with many items; no rule could apply to those.
        matches = {
            item: Match({start for start, number in enumerate(self._of_item[item]) if number in grams})
            for item, num in nums.items()
            if num > LONG - SIZE or num * SIZE >= WORTH_A_LOOK * len(self.items[item])
        }
        for position, number in hits if matches else ():
            telling = self._telling[number]
            for item, start in self._grams.places[number]:
                if (match := matches.get(item)) is not None:
                    match.diagonals.setdefault(position - start, set()).add(start)
                    if telling:
                        match.telling.add(start)
        return matches

    def own(self, item: int) -> list[bool]:
        """Which words of an item are prose and in no common piece."""
        if item not in self._own:
            words = self.items[item]
            own = self._own[item] = [is_word(word) for word in words]
            for start, gram in _grams(words, PIECE):
                if self._common_piece[self._pieces.numbers[gram]]:
                    own[start : start + PIECE] = [False] * PIECE
        return self._own[item]


def _grams(words: Sequence[str], size: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    frozen = tuple(words)
    return ((start, frozen[start : start + size]) for start in range(len(frozen) - size + 1))
