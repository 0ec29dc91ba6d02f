"""Rows as Parquet files, streamed both ways. Which kinds of rows there are, `tables` says.

A file appears whole or not at all: rows go to a temporary name, which is synced, read back and renamed. Equal rows give
equal bytes. Token ids pass as the 32-bit integers that they are.
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
from veridistill.records import Message, TokenIds

# A row group is closed at whichever comes first, so that long candidates do not pile up in memory.
GROUP_ROWS = 8192
GROUP_BYTES = 4_000_000

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """A kind of row: its columns with their Arrow types (`?`: may be null), and how to make one of them."""

    name: str
    columns: dict[str, str]
    make: Callable[..., R]

    def write(self, path: Path, rows: Iterable[R]) -> int:
        """All rows, as one file that appears when it is whole; returns their number."""
        with self.writer(path) as writer:
            for row in rows:
                writer.add(row)
        return writer.num_rows

    def writer(self, path: Path) -> "Writer[R]":
        """To be used with `with`: the file appears at its end, or not at all when the block raises."""
        return Writer(self, path)

    def read(self, path: Path, without: Collection[str] = ()) -> Iterator[R]:
        """The rows in order, a row group in memory at a time. `ConfigError` for a file that is no such table.

        Columns in `without` are not read; their fields have their defaults.
        """
        names = [name for name in self.columns if name not in without]
        for values in self.values(path, *names):
            yield self.make(**dict(zip(names, values, strict=True)))

    def values(self, path: Path, *names: str) -> Iterator[tuple[Any, ...]]:
        """The values of some columns, row by row, as `read` reads them. Raises as `read` does."""
        return self._rows(path, names, lambda file, group: file.read_row_group(group, columns=names))

    def where(
        self, path: Path, column: str, wanted: Collection[str], without: Collection[str] = ()
    ) -> Iterator[R]:
        """The rows whose `column` is one of `wanted`, in order, as `read` gives them.

        Of a row group without any, only that column is read.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        names, values = [name for name in self.columns if name not in without], pa.array(wanted, pa.string())

        def found(file: Any, group: int) -> Any:
            mask = pc.is_in(file.read_row_group(group, columns=[column]).column(0), value_set=values)
            return file.read_row_group(group, columns=names).filter(mask) if pc.any(mask).as_py() else None

        for row in self._rows(path, names, found):
            yield self.make(**dict(zip(names, row, strict=True)))

    def slice(self, path: Path, start: int, count: int, without: Collection[str] = ()) -> Iterator[R]:
        """`count` rows from the one at `start` (from 0) on, fewer at the end, as `read` gives them.

        Row groups that hold none of them are not read.
        """
        names, first = [name for name in self.columns if name not in without], 0

        def found(file: Any, group: int) -> Any:
            nonlocal first
            size = file.metadata.row_group(group).num_rows
            low, high = max(start - first, 0), min(start + count - first, size)
            first += size
            if low >= high:
                return None
            return file.read_row_group(group, columns=names, use_threads=False).slice(low, high - low)

        for row in self._rows(path, names, found):
            yield self.make(**dict(zip(names, row, strict=True)))

    def _rows(
        self, path: Path, names: Sequence[str], read: Callable[[Any, int], Any]
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of what `read` makes of each row group, given the open file and the group's number."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                if missing := self.columns.keys() - set(file.schema_arrow.names):
                    raise ConfigError(f"{path}: no {self.name} table, it lacks {', '.join(sorted(missing))}")
                for group in range(file.num_row_groups):
                    if (rows := read(file, group)) is not None:
                        for batch in rows.to_batches():
                            yield from self._values(batch, names)
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None

    def _values(self, batch: Any, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The rows of an Arrow record batch; token ids stay 32-bit integers on the way."""
        return zip(*(_read_column(self.columns[name], batch.column(name)) for name in names), strict=True)

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
    """Streams rows into one Parquet file. `num_rows` counts those added; `temporary` is its name until it is whole."""

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
        sync_directory(self.path.parent)

    def discard(self) -> None:
        """Leave nothing; a file that was there before stays."""
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


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, and what was removed from it."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
