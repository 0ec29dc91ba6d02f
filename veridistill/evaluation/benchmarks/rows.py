"""Records of Parquet, JSONL and CSV files, and the checks of the fields that benchmarks use.

A check that fails is noted on its row and reading goes on, so that one error lists every fault of a file with its
row. Only one batch or line is in memory at a time: files of LiveCodeBench hold gigabytes.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veridistill.data import jsonl
from veridistill.data.jsonl import shown
from veridistill.errors import ConfigError
from veridistill.evaluation.benchmarks.benchmark import Benchmark
from veridistill.records import Problem, without_surrogates

MAX_FAULTS = 20
_MAX_CELL = 2**27  # characters of a CSV cell; Python's default of 131,072 refuses images in base64
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")


class Faults:
    """The first faults in full and the number of all."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0

    def add(self, where: str, fault: str) -> None:
        self.count += 1
        if len(self.lines) < MAX_FAULTS:
            self.lines.append(f"{where}: {fault}")

    def check(self) -> None:
        """Raise one `ConfigError` when there are any."""
        if self.count:
            more = [f"... and {self.count - MAX_FAULTS} more"] if self.count > MAX_FAULTS else []
            raise ConfigError("\n".join([*self.lines, *more]))


@dataclass(slots=True)
class Row:
    """One record. Reading a field that is missing or of the wrong type notes a fault and gives an empty value.

    `number` counts from 1: lines of JSONL, records of other files. `offset` and `length` are the bytes of a
    JSONL line in its file.
    """

    path: Path
    number: int
    columns: Mapping[str, Any] = field(default_factory=dict)
    offset: int = 0
    length: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def text(self, name: str) -> str:
        """A text that is not blank, without the white space around it."""
        value = self.columns.get(name)
        if not isinstance(value, str):
            self.refuse(name, "text")
            return ""
        if not value.strip():
            self.fault(f"{name} is empty")
        return without_surrogates(value).strip()

    def source(self, name: str) -> str:
        """A text that is not blank, as it is: white space is part of a program."""
        self.text(name)
        value = self.columns.get(name)
        return without_surrogates(value) if isinstance(value, str) else ""

    def optional(self, name: str) -> str:
        """A text as it is, or nothing where the field is null."""
        value = self.columns.get(name)
        if name not in self.columns or not (value is None or isinstance(value, str)):
            self.refuse(name, "text or null")
            return ""
        return without_surrogates(value or "")

    def name(self, name: str) -> str:
        """An id: a text that is not blank or an integer, as text."""
        value = self.columns.get(name)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self.text(name)

    def integer(self, name: str) -> int:
        """An integer, or its decimal digits as text (CSV has nothing else)."""
        value = self.columns.get(name)
        if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self.refuse(name, "an integer")
            return 0
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, without the white space around each."""
        value = self.columns.get(name)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.refuse(name, "a list of texts")
            return ()
        return tuple(without_surrogates(one).strip() for one in value)

    def of(self, *names: str) -> str:
        """The first of these fields that the record has, or else the first: sets call the same thing differently."""
        return next((name for name in names if name in self.columns), names[0])

    def refuse(self, name: str, wanted: str) -> None:
        """Note that a field is missing or is not what is wanted."""
        found = (
            f"must be {wanted}; found {shown(self.columns[name])}" if name in self.columns else "is missing"
        )
        self.fault(f"{name} {found}")


def problems(
    rows: Iterable[Row], benchmark: Benchmark, parse: Callable[[Row], Problem | None]
) -> list[Problem]:
    """What `parse` makes of the rows; None leaves a row out.

    Raises `ConfigError` with every fault: those that `parse` notes, an id used twice, a wrong number of rows or, where
    nothing else is wrong, of problems.
    """
    faults, found, first = Faults(), list[Problem](), dict[str, str]()
    count = 0
    for row in rows:
        count += 1
        place = f"{row.path}:{row.number}"
        problem = None if row.faults else parse(row)
        for fault in row.faults:
            faults.add(place, fault)
        if problem is None or row.faults:
            continue
        if first.setdefault(problem.problem_id, place) != place:
            faults.add(place, f"id {problem.problem_id!r} is already used in {first[problem.problem_id]}")
        found.append(problem)
    where, whole = benchmark.source.hub_id, "give the whole, unchanged data set"
    if benchmark.num_rows is not None and count not in (benchmark.num_rows, benchmark.unsplit):
        faults.add(where, f"{benchmark.num_rows:,} rows expected, {count:,} found; {whole}")
    faults.check()
    if benchmark.num_problems is not None and len(found) != benchmark.num_problems:
        wanted = f"{benchmark.num_problems:,} problems of {benchmark.name} ({benchmark.subset or 'all rows'})"
        raise ConfigError(f"{where}: {wanted} expected, {len(found):,} found; {whole}")
    return found


def read(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[Row]:
    """The rows of the files in turn. Of Parquet the named columns alone are read.

    Raises `ConfigError` for a file that cannot be read as its suffix says, or has no such column.
    """
    for path in paths:
        try:
            yield from _READERS[path.suffix](path, columns)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: is not UTF-8 (byte {error.start} of a text)") from None


def lines(path: Path) -> Iterator[tuple[Row, bytes]]:
    """A row for each line that is not blank, without its columns, and the line. Only a newline ends one.

    Raises `ConfigError` when the file cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    offset = 0
    with file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Row(path, number, offset=offset, length=len(line.rstrip(b"\r\n"))), line
            offset += len(line)


def parse_json(row: Row, line: bytes) -> Row:
    """The row with the columns of its line, or with what is wrong with the line."""
    parsed = jsonl.row(row.number, line)
    if parsed.fault:
        row.fault(parsed.fault)
    row.columns = parsed.record
    return row


def _jsonl(path: Path, _: Sequence[str]) -> Iterator[Row]:
    return (parse_json(row, line) for row, line in lines(path))


def _csv(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            _has_columns(path, columns, reader.fieldnames or ())
            for number, record in enumerate(reader, 1):
                row = Row(path, number, record)
                if None in record:
                    row.fault("has more cells than the header")
                yield row
        except csv.Error as error:
            raise ConfigError(f"{path}: is not CSV after line {reader.line_num} ({error})") from None


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _has_columns(path, columns, file.schema_arrow.names)
            batches = file.iter_batches(batch_size=256, columns=list(columns))
            records = (record for batch in batches for record in batch.to_pylist())
            for number, record in enumerate(records, 1):
                yield Row(path, number, record)
    except pa.ArrowException as error:
        raise ConfigError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


_READERS: dict[str, Callable[[Path, Sequence[str]], Iterator[Row]]] = {
    ".parquet": _parquet,
    ".jsonl": _jsonl,
    ".csv": _csv,
}


def _has_columns(path: Path, wanted: Sequence[str], found: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in found]:
        raise ConfigError(f"{path}: has no column {', '.join(missing)}; it has {', '.join(found) or 'none'}")
