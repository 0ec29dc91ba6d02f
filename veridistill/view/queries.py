"""The addresses of lists: which filters a page was asked for, and the addresses of the pages around it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from veridistill.report.values import label
from veridistill.view import words
from veridistill.view.rounds import Kind
from veridistill.view.search import Filter

FIELDS: dict[Kind, tuple[str, ...]] = {
    "questions": ("domain", "outcome", "by", "kept"),
    "exam": ("benchmark", "domain", "base", "trained", "flip"),
}
"""Parameters that filter, each named as its facets are; `after` means where a page begins."""
_FACET = {"trained": "after"}
_WORDS: dict[str, Mapping[str, str]] = {
    "base": words.SCORES,
    "trained": words.SCORES,
    "flip": words.FLIPS,
    "kept": {"yes": "one is kept", "no": "none is kept"},
}
_LABELS = {"by": "ended by", "base": "before training", "trained": "after training", "flip": "training"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a filter, with the number of entries that have it."""

    value: str
    words: str
    entries: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Select:
    """A filter with its values."""

    name: str
    label: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What a list was asked for: a filter's values by name, the search, and where the page begins."""

    kind: Kind
    chosen: Mapping[str, str]
    text: str = ""
    start: int = 0
    direction: Literal["forward", "back"] = "forward"

    @property
    def filter(self) -> Filter:
        found = {name: value for name, value in self.chosen.items() if value}
        facets = []
        if "outcome" in found and "by" in found:  # of the same candidate
            facets.append(f"end:{found.pop('outcome')}/{found.pop('by')}")
        facets += [f"{_FACET.get(name, name)}:{value}" for name, value in found.items()]
        return Filter(tuple(facets), self.text)

    def address(self, **more: str | int) -> str:
        """The same list as parameters of an address, with others instead of its start."""
        own = {name: value for name, value in self.chosen.items() if value}
        given = own | ({"q": self.text} if self.text else {}) | more
        return "?" + urlencode(given) if given else ""


def query(kind: Kind, given: Mapping[str, str]) -> Query:
    """Read off an address; what is no number is no start."""
    chosen = {name: given.get(name, "") for name in FIELDS[kind]}
    text = given.get("q", "").replace("\0", " ").strip()
    if (before := _number(given.get("before"))) is not None:
        return Query(kind, chosen, text, before, "back")
    return Query(kind, chosen, text, _number(given.get("after")) or 0)


def selects(asked: Query, facets: Mapping[str, int]) -> list[Select]:
    """The filters that a list has values for."""
    found = []
    for name in FIELDS[asked.kind]:
        prefix = f"{_FACET.get(name, name)}:"
        known = _WORDS.get(name, {})
        choices = tuple(
            Choice(value, known.get(value, label(value)), entries, asked.chosen[name] == value)
            for facet, entries in facets.items()
            if (value := facet.removeprefix(prefix)) != facet
        )
        if len(choices) > 1 or any(one.chosen for one in choices):
            found.append(Select(name, _LABELS.get(name, name), choices))
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None
