"""A `Seed` of each row: its question, id, domain and options, each from the column that the configuration names.

Equal questions are used once, in whichever files they are. Faults are noted and reading goes on.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args

from veridistill.config import SeedsSection
from veridistill.data.jsonl import Faults, Row, shown
from veridistill.data.seeds import options, template
from veridistill.data.seeds.columns import Column, Unfit, missing
from veridistill.data.seeds.files import File
from veridistill.data.seeds.formats import rows
from veridistill.data.seeds.template import Filled
from veridistill.domains.options import with_options
from veridistill.records import Domain, Seed, seed_id, without_surrogates

DOMAINS: tuple[Domain, ...] = get_args(Domain)
Keep = Literal["questions", "parts"]
"""Whether a question is kept alone, or with its parts, which the search for overlaps compares."""
T = TypeVar("T")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Parts:
    """A question taken apart. `stem`: what is asked, without the words of the template and without options.

    Of a template that is the longest of its values. `content`: all values and options, without the template's words,
    which are in every question.
    """

    stem: str
    content: str


class Reader:
    """Reads files, and keeps the first `most` unique questions, or all. `names`: what files are called in `source`."""

    def __init__(self, section: SeedsSection, names: Mapping[str, str], most: int | None, keep: Keep) -> None:
        self.faults = Faults("")
        self.seeds: list[Seed] = []
        self.parts: dict[str, Parts] = {}
        self.num_rows = self.num_duplicates = self.num_replaced = self.num_unique = 0
        self._names, self._most, self._keep = names, most, keep
        self._template = template.parse(section.question)
        self._id = Column(section.id, "seeds.id") if section.id else None
        self._options = Column(section.options, "seeds.options") if section.options else None
        self._domain = _domain(section.domain)
        self._source_of: dict[str, str] = {}
        self._text_by_id: dict[str, str] = {}

    @property
    def columns(self) -> list[Column]:
        """The columns that are read, each once."""
        named = (*self._template.columns, self._id, self._options, self._domain)
        return list({column.name: column for column in named if isinstance(column, Column)}.values())

    def read(self, file: File) -> None:
        """All rows of a file; its faults go to `faults`."""
        self.faults.path, before = file.name, self.num_rows
        try:
            for row in rows(file, self.columns):
                self.num_rows += 1
                self._take(row, f"{self._names[file.name]}:{row.number}")
        except Unfit as unfit:
            for fault in unfit.faults:
                self.faults.add(None, fault)
            return
        if self.num_rows == before:
            self.faults.add(None, "holds no questions; give a file of them")

    def _take(self, row: Row, source: str) -> None:
        if row.fault:
            self.faults.add(row.number, row.fault)
            return
        before = self.faults.count
        filled = self._tried(row, self._template.fill)
        own_id = self._tried(row, self._own_id)
        domain = self._tried(row, self._domain_of)
        listed = self._tried(row, self._options_of) or ()
        if listed and domain == "code":
            name = self._options.name if self._options else ""
            self.faults.add(row.number, f"{name} must be null in the domain code, whose answers are programs")
        if self.faults.count == before and filled is not None and domain is not None:
            self._add(row.number, filled, listed, Seed(own_id or "", "", domain, source))

    def _tried(self, row: Row, read: Callable[[Mapping[str, Any]], T]) -> T | None:
        try:
            return read(row.record)
        except Unfit as unfit:
            for fault in unfit.faults:
                self.faults.add(row.number, fault)
            return None

    def _add(self, number: int, filled: Filled, listed: tuple[str, ...], start: Seed) -> None:
        """Keep a question without faults, unless it is there already. `start`: its seed but for the question."""
        text = self._clean(filled.text)
        question = with_options(text.strip(), listed) if listed else text
        text_hash = seed_id(question)
        if start.seed_id and self._text_by_id.setdefault(start.seed_id, text_hash) != text_hash:
            first = self._source_of[self._text_by_id[start.seed_id]]
            fault = f"id {shown(start.seed_id)} has a different question in {first}; give each question its own id"
            self.faults.add(number, fault)
            return
        if self._source_of.setdefault(text_hash, start.source) != start.source:
            self.num_duplicates += 1
            return
        self.num_unique += 1
        if self._most is not None and self.num_unique > self._most:
            return
        seed = Seed(start.seed_id or text_hash, question, start.domain, start.source)
        self.seeds.append(seed)
        if self._keep == "parts" and filled.values != (question,):
            self.parts[seed.seed_id] = _parts(filled.values, listed)

    def _own_id(self, record: Mapping[str, Any]) -> str | None:
        if self._id is None:
            return None
        value, name = _of(record, self._id), self._id.name
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise Unfit(f"{name} must be text or an integer (found {shown(value)})")
        if not str(value).strip():
            raise Unfit(f"{name} is empty")
        return self._clean(str(value))

    def _domain_of(self, record: Mapping[str, Any]) -> Domain:
        if not isinstance(self._domain, Column):
            return self._domain
        value = _of(record, self._domain)
        if value not in DOMAINS:
            allowed = f"{', '.join(DOMAINS[:-1])} or {DOMAINS[-1]}"
            raise Unfit(f"{self._domain.name} must be {allowed} (found {shown(value)})")
        return cast(Domain, value)

    def _options_of(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        return options.texts(_of(record, self._options), self._options.name) if self._options else ()

    def _clean(self, text: str) -> str:
        if text.isascii():
            return text
        cleaned, num = _SURROGATES.subn("\ufffd", text)
        self.num_replaced += num
        return cleaned


def _domain(setting: str) -> Domain | Column:
    """The domain of all questions, or the column of each one's."""
    return next((domain for domain in DOMAINS if domain == setting), Column(setting, "seeds.domain"))


def _of(record: Mapping[str, Any], column: Column) -> Any:
    if column.name not in record:
        raise Unfit(missing(column, record))
    return record[column.name]


def _parts(values: Iterable[str], listed: tuple[str, ...]) -> Parts:
    values = [without_surrogates(value) for value in values]
    return Parts(max(values, key=len), "\n".join((*values, *listed)))
