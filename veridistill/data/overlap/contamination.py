"""Decontamination: seed questions that contain a benchmark's question (an item): all of it, part of it, or with other
numbers.

The rules, of which the first that holds is reported:

    exact         the same tokens                                                      dropped
    contained     the question contains the complete item                              dropped
    13-gram       13 consecutive words are shared, 3 of them distinctive, or 18
                  consecutive words in specific 8-grams                                dropped
    coverage      specific 8-grams cover half of the item, or any 8-grams nearly all   dropped
    masked        the same, four fifths, with numbers and variables masked             dropped, unless many are
    masked_short  a short item is equal when masked                                    reported

An 8-gram is specific (`telling`) when it contains words of prose and is not boilerplate (in many questions or many
items); a word is distinctive (`own`) when it is prose and in no common 4-gram. Only an item's text is read, never its
reference.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from veridistill.data.overlap import Overlap, Rule, excerpt
from veridistill.data.overlap.grams import LONG, SIZE, Grams, Hits, Match, covered
from veridistill.data.overlap.words import is_operator, masked, tokens, words
from veridistill.records import Seed

Item = tuple[str, str, str]
"""(benchmark, problem_id, text). A problem may occur more than once, for example with and without its options."""

OWN_WORDS = 3
ALWAYS_OWN = 18
"""Consecutive words, all in specific 8-grams: more than two adjacent boilerplate phrases ever have."""
COVERAGE = 0.5
"""Share of an item's words in specific 8-grams."""
NEARLY_ALL = 0.9
"""Share of an item's words in any 8-grams: a popular problem is in many seeds, and so looks like boilerplate."""
MASKED_COVERAGE = 0.8
MIN_CONTAINED = 5
"""Tokens of the shortest item that is looked for inside questions: shorter ones are in many by chance."""
_ORDER: tuple[Rule, ...] = ("exact", "contained", "13-gram", "coverage", "masked", "masked_short")


def contaminated(seeds: Sequence[Seed], items: Iterable[Item]) -> list[Overlap]:
    """One overlap for each seed that contains an item: its strongest, in the order of the seeds.

    What counts as boilerplate depends on all of `seeds`, so give all questions of the file, not a part of them.
    """
    index = _Index(items)
    # First all questions, since a gram's count is known only then.
    traces = [index.trace(seed) for seed in seeds]
    most = boilerplate(len(seeds))
    index.settle(most)
    found = [
        (seed, finding)
        for seed, trace in zip(seeds, traces, strict=True)
        if (finding := index.strongest(trace))
    ]
    copies = Counter(finding.item for _, finding in found if finding.rule == "masked")
    templates = {item for item, num in copies.items() if num > most}
    return [_told(seed, finding, index, templates) for seed, finding in found]


def boilerplate(num_questions: int) -> int:
    """The most questions that a specific gram may be in: 10, or 0.02 % of them."""
    return max(10, num_questions // 5000)


@dataclass(frozen=True, slots=True)
class _Finding:
    item: int
    rule: Rule
    share: float
    shared: str


@dataclass(frozen=True, slots=True)
class _Trace:
    """The result of the first pass over a question, for the second."""

    whole: tuple[_Finding, ...]
    hits: Hits
    masked_hits: Hits
    masked_text: str


class _Index:
    """The items by their tokens, and by the 8-grams of their words, plain and masked."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: list[Item] = []
        self._by_tokens: dict[str, int] = {}
        self._short: dict[tuple[str, ...], list[tuple[int, list[str]]]] = defaultdict(list)
        self._masked_short: dict[str, int] = {}
        self._seen, self._seen_masked = set[str](), set[str]()
        self.words: list[list[str]] = []
        self.masked: list[list[str]] = []
        for item in items:
            self._add(item)
        self.plain = Grams(self.words)
        self.hidden = Grams(self.masked)
        self._templates: Counter[str] = Counter()
        self._most = 0

    def _add(self, item: Item) -> None:
        found = tokens(item[2])
        text = " ".join(found)
        if not found or text in self._by_tokens:
            return
        number = self._by_tokens[text] = len(self.items)
        self.items.append(item)
        plain = words(found)
        self.words.append(_once(plain, self._seen))
        self.masked.append(_once(masked(plain), self._seen_masked))
        if len(plain) < SIZE and len(found) >= MIN_CONTAINED:
            self._short[tuple(found[:MIN_CONTAINED])].append((number, found))
        if len(plain) < LONG:
            self._masked_short.setdefault(" ".join(masked(found)), number)

    def trace(self, seed: Seed) -> _Trace:
        """The first pass: complete items, and the grams in common."""
        found = tokens(seed.question)
        plain = words(found)
        masked_text = " ".join(masked(found)) if len(plain) < LONG else ""
        if masked_text in self._masked_short:
            self._templates[masked_text] += 1
        hits = self.plain.hits(plain)
        whole = [*self._whole(found), *self._contained(plain, hits)]
        return _Trace(tuple(whole), hits, self.hidden.hits(masked(plain)), masked_text)

    def _contained(self, plain: list[str], hits: Hits) -> Iterable[_Finding]:
        for number in self.plain.whole(plain, hits):
            yield _Finding(number, "contained", 1.0, " ".join(self.words[number]))

    def _whole(self, found: list[str]) -> Iterable[_Finding]:
        text = " ".join(found)
        if text in self._by_tokens:
            yield _Finding(self._by_tokens[text], "exact", 1.0, text)
        if not self._short:
            return
        for start in range(len(found) - MIN_CONTAINED + 1):
            for number, item in self._short.get(tuple(found[start : start + MIN_CONTAINED]), ()):
                end = start + len(item)
                # "What is 2 + 3 + 4" does not contain the question "What is 2 + 3".
                if found[start:end] == item and not (end < len(found) and is_operator(found[end])):
                    yield _Finding(number, "contained", 1.0, " ".join(item))

    def settle(self, most: int) -> None:
        """Between the two passes: grams in more than `most` questions are boilerplate."""
        self.plain.settle(most)
        self.hidden.settle(most)
        self._most = most

    def strongest(self, trace: _Trace) -> _Finding | None:
        """The second pass, when it is known which grams are boilerplate."""
        findings = list(trace.whole)
        for item, match in self.plain.of(trace.hits).items():
            findings += _shared(item, match, self)
        if not findings:
            for item, match in self.hidden.of(trace.masked_hits).items():
                findings += _masked(item, match, self)
        if not findings and 0 < self._templates[trace.masked_text] <= self._most:
            findings.append(
                _Finding(self._masked_short[trace.masked_text], "masked_short", 1.0, trace.masked_text)
            )
        return min(findings, key=lambda f: (_ORDER.index(f.rule), -f.share, f.item), default=None)


def _once(words: list[str], seen: set[str]) -> list[str]:
    """Nothing for an item with the words of an earlier one: its grams would look common among the items."""
    text = " ".join(words)
    new = text not in seen
    seen.add(text)
    return words if new else []


def _shared(item: int, match: Match, index: _Index) -> Iterable[_Finding]:
    """The rules on unmasked 8-grams."""
    words = index.words[item]
    telling, nearly = covered(match.telling) / len(words), covered(match.all) / len(words)
    stretch = _longest(match)
    if any(_is_evidence(part, match, index.plain.own(item)) for part in match.stretches()):
        yield _Finding(item, "13-gram", nearly, " ".join(words[stretch]))
    elif telling >= COVERAGE:
        yield _Finding(item, "coverage", telling, " ".join(words[stretch]))
    # A short item must match completely: one word in ten may be the number that makes it another question.
    elif nearly >= (NEARLY_ALL if len(words) >= LONG else 1.0):
        yield _Finding(item, "coverage", nearly, " ".join(words[stretch]))


def _masked(item: int, match: Match, index: _Index) -> Iterable[_Finding]:
    """The same question with other numbers or variables. Short items are templates that many questions share."""
    words = index.masked[item]
    telling, nearly = covered(match.telling) / len(words), covered(match.all) / len(words)
    if len(words) >= LONG and (telling >= MASKED_COVERAGE or nearly >= NEARLY_ALL):
        yield _Finding(item, "masked", nearly, " ".join(words[_longest(match)]))


def _longest(match: Match) -> slice:
    return max(match.stretches(), key=_length)


def _length(stretch: slice) -> int:
    return int(stretch.stop - stretch.start)


def _is_evidence(stretch: slice, match: Match, own: Sequence[bool]) -> bool:
    """13 consecutive words, unless they are adjacent boilerplate: that has few distinctive words and ends soon."""
    if _length(stretch) < LONG:
        return False
    return sum(own[stretch]) >= OWN_WORDS or _telling_words(stretch, match) >= ALWAYS_OWN


def _telling_words(stretch: slice, match: Match) -> int:
    """The longest run of consecutive words whose 8-grams are all specific."""
    best = run = 0
    for start in range(stretch.start, stretch.stop - SIZE + 1):
        run = run + 1 if start in match.telling else 0
        best = max(best, run)
    return best + SIZE - 1 if best else 0


def _told(seed: Seed, finding: _Finding, index: _Index, templates: Container[int]) -> Overlap:
    benchmark, problem_id, text = index.items[finding.item]
    template = finding.rule == "masked" and finding.item in templates
    return Overlap(
        seed_id=seed.seed_id,
        source=seed.source,
        rule=finding.rule,
        action="reported" if template or finding.rule == "masked_short" else "dropped",
        benchmark=benchmark,
        problem_id=problem_id,
        share=round(finding.share, 4),
        shared=finding.shared,
        question=excerpt(seed.question),
        other=excerpt(text),
    )
