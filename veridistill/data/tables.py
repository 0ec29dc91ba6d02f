"""Records as Parquet, for DuckDB, pandas and the Hub: one `Table` per kind of row, streamed both ways.

A table appears complete or not at all: rows go to a temporary file, which is synced, read back and renamed.
Equal rows give equal bytes. `runs` decides what is written when, and which tables belong together.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from veridistill.errors import ConfigError, Incomplete
from veridistill.records import (
    Attempt,
    Ballot,
    Candidate,
    Example,
    Message,
    Outcome,
    Problem,
    Seed,
    TokenIds,
    Verdict,
)

# A row group is closed at whichever comes first, so that long candidates do not pile up in memory.
GROUP_ROWS = 8192
GROUP_BYTES = 4_000_000

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """A candidate with its outcome. `text` is the raw reply, reasoning included."""

    seed_id: str
    index: int
    outcome: Outcome
    rejected_by: str | None
    kept: bool
    answer: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, candidate: Candidate, verdict: Verdict, kept: bool) -> "CandidateRow":
        reply = candidate.completion
        return cls(
            seed_id=candidate.seed_id,
            index=candidate.index,
            outcome=verdict.outcome,
            rejected_by=verdict.rejected_by,
            kept=kept,
            answer=candidate.answer,
            text=reply.text,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class VoteRow:
    """A vote with the candidate that it is about."""

    seed_id: str
    candidate: int
    stage: str
    index: int
    ballot: Ballot
    reason: str

    @classmethod
    def of(cls, verdict: Verdict) -> "list[VoteRow]":
        return [
            cls(verdict.seed_id, verdict.candidate, vote.stage, vote.index, vote.ballot, vote.reason)
            for vote in verdict.votes
        ]


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """A kind of row: its columns with their Arrow types (`?`: may be null), and how to make one of them."""

    name: str
    columns: dict[str, str]
    make: Callable[..., R]

    def write(self, path: Path, rows: Iterable[R]) -> int:
        """Write all rows, as one file that appears when it is complete; returns their number."""
        with self.writer(path) as writer:
            for row in rows:
                writer.add(row)
        return writer.num_rows

    def writer(self, path: Path) -> "Writer[R]":
        """To be used with `with`: the file appears at its end, or not at all when the block raises."""
        return Writer(self, path)

    def read(self, path: Path, without: Collection[str] = ()) -> Iterator[R]:
        """The rows in order, a row group in memory at a time. Raises `ConfigError` for a file that is not such a table.

        Columns in `without` are not read; their fields have their defaults.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                if missing := self.columns.keys() - set(file.schema_arrow.names):
                    raise ConfigError(f"{path}: no {self.name} table, it lacks {', '.join(sorted(missing))}")
                names = [name for name in self.columns if name not in without]
                for group in range(file.num_row_groups):
                    for batch in file.read_row_group(group, columns=names).to_batches():
                        yield from self._rows(batch)
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None

    def _rows(self, batch: Any) -> Iterator[R]:
        """The rows of an Arrow record batch; token ids stay 32-bit integers on the way."""
        names = batch.schema.names
        columns = [_read_column(self.columns[name], batch.column(name)) for name in names]
        for values in zip(*columns, strict=True):
            yield self.make(**dict(zip(names, values, strict=True)))

    def schema(self) -> Any:
        """The Arrow schema."""
        import pyarrow as pa

        types = {
            "string": pa.string(),
            "int32": pa.int32(),
            "bool": pa.bool_(),
            "list<int32>": pa.list_(pa.int32()),
            "list<string>": pa.list_(pa.string()),
            "list<message>": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        }
        return pa.schema(
            pa.field(name, types[kind.rstrip("?")], nullable=kind.endswith("?"))
            for name, kind in self.columns.items()
        )


class Writer(Generic[R]):
    """Streams rows into one Parquet file. `num_rows` counts those added; `temporary` is its name meanwhile."""

    def __init__(self, table: Table[R], path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        self.num_rows = 0
        self._schema = table.schema()
        self._kinds = list(table.columns.values())
        self._values = attrgetter(*table.columns)
        self._group: list[tuple[Any, ...]] = []
        self._bytes = 0
        # One name for all attempts: what a killed run left is overwritten. The run directory has one writer.
        self.temporary = path.with_name(f".{path.name}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.temporary.open("wb")
        self._parquet = pq.ParquetWriter(self._file, self._schema, compression="zstd")

    def add(self, row: R) -> None:
        values = self._values(row)
        self._group.append(values)
        self.num_rows += 1
        self._bytes += sum(map(_size, values))
        if len(self._group) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        """Make the file durable and read it back; it still has its temporary name."""
        self._flush()
        self._parquet.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._read_back()

    def publish(self) -> None:
        """Give a finished file its name."""
        os.replace(self.temporary, self.path)
        _sync_directory(self.path.parent)

    def discard(self) -> None:
        """Remove the temporary file; a file that existed before stays."""
        import pyarrow as pa

        with suppress(pa.ArrowException, OSError):  # a full disk has no room for the footer, either
            self._parquet.close()
        with suppress(OSError):
            self._file.close()
        self.temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.finish()
            self.publish()
        except BaseException:
            self.discard()
            raise

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._group:
            return
        columns = [
            _column(kind, values, field.type)
            for kind, values, field in zip(
                self._kinds, zip(*self._group, strict=True), self._schema, strict=True
            )
        ]
        self._parquet.write_table(pa.Table.from_arrays(columns, schema=self._schema), len(self._group))
        self._group, self._bytes = [], 0

    def _read_back(self) -> None:
        found = num_rows(self.temporary)
        if found != self.num_rows:
            raise Incomplete(f"{self.path}: {self.num_rows} rows written, {found} read back; run again")


def num_rows(path: Path) -> int:
    """The number of rows of a Parquet file, from its footer."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def _size(value: Any) -> int:
    """Bytes of a field's value in a row group, before compression."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, TokenIds):
        return value.itemsize * len(value)
    return sum(map(_size, value)) if isinstance(value, tuple) else 4


def _column(kind: str, values: Sequence[Any], arrow_type: Any) -> Any:
    """One column of a row group; token ids are copied as the 32-bit integers that they are."""
    import pyarrow as pa

    if kind != "list<int32>":
        return pa.array([_plain(value) for value in values], arrow_type)
    joined, ends = TokenIds(), TokenIds(accumulate(map(len, values), initial=0))
    for ids in values:
        joined.extend(ids)
    return pa.ListArray.from_arrays(_numbers(ends), _numbers(joined))


def _numbers(ids: TokenIds) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int32(), len(ids), [None, pa.py_buffer(ids)])


def _read_column(kind: str, column: Any) -> Iterable[Any]:
    if kind != "list<int32>":
        return list(column.to_pylist())
    ends, (_, data) = column.offsets.to_pylist(), column.values.buffers()
    numbers = memoryview(data or b"").cast("B")
    return [TokenIds(bytes(numbers[4 * start : 4 * end])) for start, end in pairwise(ends)]


def _plain(value: Any) -> Any:
    """A field's value as Arrow takes it."""
    if isinstance(value, tuple):
        return [item._asdict() if isinstance(item, Message) else item for item in value]
    return value


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _problem(options: list[str], **row: Any) -> Problem:
    return Problem(options=tuple(options), **row)


def _example(messages: list[dict[str, str]], **row: Any) -> Example:
    return Example(messages=tuple(Message(**message) for message in messages), **row)


SEEDS: Table[Seed] = Table(
    "seeds", {"seed_id": "string", "question": "string", "domain": "string", "source": "string"}, Seed
)
CANDIDATES: Table[CandidateRow] = Table(
    "candidates",
    {
        "seed_id": "string",
        "index": "int32",
        "outcome": "string",
        "rejected_by": "string?",
        "kept": "bool",
        "answer": "string",
        "text": "string",
        "finish_reason": "string",
        "prompt_tokens": "int32",
        "completion_tokens": "int32",
    },
    CandidateRow,
)
VOTES: Table[VoteRow] = Table(
    "votes",
    {
        "seed_id": "string",
        "candidate": "int32",
        "stage": "string",
        "index": "int32",
        "ballot": "string",
        "reason": "string",
    },
    VoteRow,
)
EXAMPLES: Table[Example] = Table(
    "examples",
    {
        "seed_id": "string",
        "candidate": "int32",
        "prompt_ids": "list<int32>",
        "completion_ids": "list<int32>",
        "messages": "list<message>",
    },
    _example,
)
ATTEMPTS: Table[Attempt] = Table(
    "attempts",
    {
        "problem_id": "string",
        "benchmark": "string",
        "index": "int32",
        "answer": "string?",
        "outcome": "string",
        "error": "string",
        "finish_reason": "string",
        "completion_tokens": "int32",
        "response": "string",
    },
    Attempt,
)
PROBLEMS: Table[Problem] = Table(
    "problems",
    {
        "problem_id": "string",
        "benchmark": "string",
        "kind": "string",
        "question": "string",
        "reference": "string",
        "domain": "string",
        "options": "list<string>",
        "tests": "string",
    },
    _problem,
)
