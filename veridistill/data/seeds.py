"""Seed questions from JSONL or Parquet; the whole file is validated before any model call.

One error lists all faults with their rows. Then, in this order: of questions that are equal when normalised the first
is kept; near duplicates and questions of benchmarks are dropped, as `overlap` finds them; `limit` takes the first of
the rest; and `shard` a part of those. The caller gives a real path, even for the lab, and the benchmarks' questions as
plain text.
"""

import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.config import SeedsSection
from veridistill.data import jsonl
from veridistill.data.jsonl import Faults, Row, shown
from veridistill.data.overlap import Overlap
from veridistill.data.overlap.contamination import Item, contaminated
from veridistill.data.overlap.near import near_duplicates
from veridistill.errors import ConfigError
from veridistill.records import Seed, seed_id

# Columns in which public data sets keep their questions, looked for when the configured one is missing.
_USUAL = ("question", "problem", "prompt", "query", "instruction", "text", "input")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Seeds:
    """Unique questions in file order, at most `limit` of them, and of those the shard's; with counts of the whole file.

    `num_rows` counts the file's rows, `num_duplicates` those dropped as equal to an earlier one, and
    `num_replaced` the characters that were lone surrogates and are U+FFFD now. `overlaps` are the questions that share
    too much with a benchmark or an earlier question, in file order, one for each: those that were dropped and those
    that are only reported. `whole` are the questions of all shards.
    """

    seeds: tuple[Seed, ...]
    num_rows: int
    num_duplicates: int
    num_replaced: int
    limit: int | None
    shard: str | None = None
    overlaps: tuple[Overlap, ...] = ()
    whole: tuple[Seed, ...] = ()

    @property
    def num_near_duplicates(self) -> int:
        """Dropped because of an earlier question and not of a benchmark."""
        return sum(rule == "near_duplicate" for rule in self._dropping_rules)

    @property
    def num_contaminated(self) -> int:
        """Dropped because of a benchmark's question."""
        return sum(rule != "near_duplicate" for rule in self._dropping_rules)

    @property
    def _dropping_rules(self) -> list[str]:
        """The rule behind each dropped question."""
        return [overlap.rule for overlap in self.overlaps if overlap.action == "dropped"]

    def __iter__(self) -> Iterator[Seed]:
        return iter(self.seeds)

    def __len__(self) -> int:
        return len(self.seeds)


def load(section: SeedsSection, items: Iterable[Item] = ()) -> Seeds:
    """The questions of `section.path`, without those of `items`: the problems that `section.decontaminate` names.

    Raises `ConfigError` with the faults of the whole file, 20 in full, or when no question is left; `MissingExtra`
    when near duplicates are to be dropped and datasketch is absent.
    """
    path = Path(section.path).expanduser()
    faults = Faults(path)
    items = list(items)
    whole = section.near_duplicates is not None or bool(items)
    reader = _Reader(section, faults, None if whole else section.limit)
    for row in _rows(path, [section.question, *([section.id] if section.id else [])]):
        reader.take(row)
    faults.check()
    if not reader.num_rows:
        raise ConfigError(f"{path}: holds no questions; give a JSONL or Parquet file of them")
    overlaps = _overlaps(reader.seeds, section, items)
    dropped = {overlap.seed_id for overlap in overlaps if overlap.action == "dropped"}
    left = [seed for seed in reader.seeds if seed.seed_id not in dropped][: section.limit]
    if not left:
        raise ConfigError(
            f"{path}: all {len(dropped)} questions overlap with seeds.decontaminate or one another;"
            " give other questions, or name fewer benchmarks"
        )
    return Seeds(
        seeds=tuple(seed for seed in left if in_shard(seed.seed_id, section.shard)),
        num_rows=reader.num_rows,
        num_duplicates=reader.num_duplicates,
        num_replaced=reader.num_replaced,
        limit=section.limit,
        shard=section.shard,
        overlaps=overlaps,
        whole=tuple(left),
    )


def _overlaps(seeds: list[Seed], section: SeedsSection, items: list[Item]) -> tuple[Overlap, ...]:
    """One for each question, a benchmark's before an earlier question's.

    Both compare all questions: the near duplicates of a contaminated question are dropped too.
    """
    threshold = section.near_duplicates
    near = near_duplicates(seeds, threshold) if threshold is not None else []
    found = {overlap.seed_id: overlap for overlap in near}
    for overlap in contaminated(seeds, items) if items else ():
        if overlap.action == "dropped" or overlap.seed_id not in found:
            found[overlap.seed_id] = overlap
    return tuple(found[seed.seed_id] for seed in seeds if seed.seed_id in found)


def in_shard(seed_id: str, shard: str | None) -> bool:
    """Whether a question belongs to part k of N ("k/N"), decided by its id alone; None means all questions.

    The shards of a file are disjoint and together make up the unsharded set, because `limit` and everything that drops
    questions is applied before. If there are very few questions, a shard may be empty.
    """
    if shard is None:
        return True
    part, parts = map(int, shard.split("/"))
    digest = hashlib.blake2b(seed_id.encode("utf-8"), digest_size=8, person=b"seeds.shard").digest()
    return int.from_bytes(digest, "big") % parts == part - 1


class _Reader:
    """Validates rows one by one and keeps the first `most` unique questions, or all."""

    def __init__(self, section: SeedsSection, faults: Faults, most: int | None) -> None:
        self.section, self.faults, self.most = section, faults, most
        self.seeds: list[Seed] = []
        self.num_rows = self.num_duplicates = self.num_replaced = self.num_unique = 0
        self._rows_by_text: dict[str, int] = {}
        self._text_by_id: dict[str, str] = {}

    def take(self, row: Row) -> None:
        self.num_rows += 1
        question, text_id = self._question(row), self._id(row)
        if question is None or (self.section.id and text_id is None):
            return
        text_hash = seed_id(question)
        if text_id is not None and self._text_by_id.setdefault(text_id, text_hash) != text_hash:
            first = self._rows_by_text[self._text_by_id[text_id]]
            self.faults.add(
                row.number,
                f"id {shown(text_id)} has a different question in row {first}; give each question its own id",
            )
            return
        if self._rows_by_text.setdefault(text_hash, row.number) != row.number:
            self.num_duplicates += 1
            return
        self.num_unique += 1
        if self.most is None or self.num_unique <= self.most:
            source = f"{self.faults.path.name}:{row.number}"
            self.seeds.append(Seed(text_id or text_hash, question, self.section.domain, source))

    def _question(self, row: Row) -> str | None:
        name = self.section.question
        if row.fault:
            self.faults.add(row.number, row.fault)
        elif name not in row.record:
            self.faults.add(row.number, _missing(name, row.record, "seeds.question"))
        elif not isinstance(value := row.record[name], str):
            self.faults.add(row.number, f"{name} must be text (found {shown(value)})")
        elif not value.strip():
            self.faults.add(row.number, f"{name} is {'blank' if value else 'empty'}")
        else:
            return self._clean(value)
        return None

    def _id(self, row: Row) -> str | None:
        name = self.section.id
        if name is None or row.fault:
            return None
        value = row.record.get(name)
        if name not in row.record:
            self.faults.add(row.number, _missing(name, row.record, "seeds.id"))
        elif isinstance(value, bool) or not isinstance(value, str | int):
            self.faults.add(row.number, f"{name} must be text or an integer (found {shown(value)})")
        elif not str(value).strip():
            self.faults.add(row.number, f"{name} is empty")
        else:
            return self._clean(str(value))
        return None

    def _clean(self, text: str) -> str:
        if text.isascii():
            return text
        cleaned, num = _SURROGATES.subn("\ufffd", text)
        self.num_replaced += num
        return cleaned


def _rows(path: Path, columns: list[str]) -> Iterator[Row]:
    """The file's rows, as Parquet or JSONL by its first four bytes."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigError(f"seeds.path: {path} cannot be read ({error.strerror})") from None
    if not magic:
        raise ConfigError(f"{path}: is empty; give a JSONL or Parquet file of questions")
    yield from _parquet(path, columns) if magic == b"PAR1" else jsonl.read(path)


def _parquet(path: Path, columns: list[str]) -> Iterator[Row]:
    """Rows numbered from 1, a batch in memory at a time, the wanted columns alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name, setting in zip(columns, ("seeds.question", "seeds.id"), strict=False):
                if name not in names:
                    raise ConfigError(f"{path}: {_missing(name, names, setting)}")
            number = 0
            for batch in file.iter_batches(batch_size=4096, columns=columns):
                decoded = [_values(batch.column(name)) for name in columns]
                for values in zip(*decoded, strict=True):
                    number += 1
                    yield _decoded(number, dict(zip(columns, values, strict=True)))
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _values(column: Any) -> list[Any]:
    """A column as Python values; text as bytes, since Parquet does not check that it is UTF-8."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.large_binary())
        return [_Text(value) if value is not None else None for value in column.to_pylist()]
    return list(column.to_pylist())


class _Text(bytes):
    """Bytes of a text column, to be distinguished from those of a binary one."""


def _decoded(number: int, columns: dict[str, Any]) -> Row:
    for name, value in columns.items():
        if isinstance(value, _Text):
            try:
                columns[name] = value.decode("utf-8")
            except UnicodeDecodeError as error:
                return Row(number, fault=f"{name} is not UTF-8 at byte {error.start + 1}")
    return Row(number, columns)


def _missing(name: str, columns: Iterable[str], setting: str) -> str:
    """The error for a missing column, with the one that was probably meant."""
    found = list(columns)
    folded: dict[str, str] = {column.casefold(): column for column in reversed(found)}
    tests: list[Callable[[], list[str]]] = [
        lambda: difflib.get_close_matches(name.casefold(), folded, 1),
        lambda: [usual for usual in _USUAL if usual in folded] if setting == "seeds.question" else [],
    ]
    close = next((folded[match[0]] for test in tests if (match := test())), None)
    listed = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    hint = f"did you mean {setting}={close}?" if close else f"set {setting}"
    return f"no column {name} (columns: {listed or 'none'}); {hint}"
