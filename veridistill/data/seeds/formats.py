"""The rows of a file of questions: JSONL, a JSON array, Parquet or CSV, by its content where that tells, else its name.

A row is numbered by its line in JSONL and CSV (the header is line 1), by its place from 1 in JSON and Parquet. Of
Parquet and CSV the wanted columns alone are decoded. One batch or row is in memory at a time; a JSON array is read
whole.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from veridistill.data import jsonl
from veridistill.data.jsonl import BOM, Row
from veridistill.data.seeds.columns import Column, Unfit, missing
from veridistill.data.seeds.files import File

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
_MAX_CELL = 2**27
"""Characters of a CSV cell; Python's default is 131,072."""
_BATCH = 4096
_SURROGATE = re.compile("[\ud800-\udfff]")
"""What a byte that is not UTF-8 is read as."""

Reader = Callable[[IO[bytes], Sequence[Column]], Iterator[Row]]


def rows(file: File, columns: Sequence[Column]) -> Iterator[Row]:
    """Raises `Unfit` when the file cannot be read or lacks one of the columns."""
    try:
        with file.open() as raw:
            head = raw.read(4096)
            raw.seek(0)
            yield from _format(file.suffix, head)(raw, columns)
    except file.errors as error:
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        raise Unfit(f"cannot be read ({reason}); check seeds.path") from None


def _format(suffix: str, head: bytes) -> Reader:
    start = head.removeprefix(BOM).lstrip()[:1]
    if not head:
        raise Unfit("is empty; give a file of questions")
    if head.startswith(b"PAR1"):
        return _parquet
    if packed := next((name for magic, name in _PACKED.items() if head.startswith(magic)), None):
        raise Unfit(f"is packed ({packed}); give the file that is in it")
    if suffix == ".parquet":
        raise Unfit("is not a Parquet file, though it is named like one")
    if suffix == ".csv":
        return _csv
    if suffix in (".jsonl", ".ndjson"):
        return _jsonl
    if suffix == ".json" or start == b"[":
        return _json
    if start in (b"{", b""):
        return _jsonl
    raise Unfit("is neither Parquet nor JSON; a CSV file must be named .csv")


def _jsonl(raw: IO[bytes], columns: Sequence[Column]) -> Iterator[Row]:
    yield from jsonl.parse(raw)


def _json(raw: IO[bytes], columns: Sequence[Column]) -> Iterator[Row]:
    """An array of objects; or JSONL, which is often named .json too."""
    lines = (line.removeprefix(BOM).strip() for line in raw)
    first = next((line for line in lines if line), b"")
    if first.startswith(b"{"):
        if jsonl.row(1, first).fault or not next((line for line in lines if line), b""):
            raise Unfit(
                "is no JSON array: give an array of objects, [{...}, {...}], or JSONL, one object per line"
            )
        raw.seek(0)
        yield from jsonl.parse(raw)
        return
    raw.seek(0)
    for number, value in enumerate(_array(raw.read()), 1):
        yield jsonl.of_value(number, value)


def _array(data: bytes) -> list[Any]:
    try:
        value = jsonl.decoded(data.removeprefix(BOM))
    except UnicodeDecodeError as error:
        raise Unfit(f"is not UTF-8 at byte {error.start + 1}; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unfit(f"is not JSON: {error.msg} (line {error.lineno}, character {error.colno})") from None
    except (ValueError, RecursionError):
        raise Unfit(f"is not JSON that can be read: {jsonl.TOO_MUCH}") from None
    if not isinstance(value, list):
        raise Unfit(f"must be a JSON array of objects; found {jsonl.shown(value)}")
    return value


def _csv(raw: IO[bytes], columns: Sequence[Column]) -> Iterator[Row]:
    """RFC 4180 with a header. Every cell is text; blank lines are skipped."""
    csv.field_size_limit(_MAX_CELL)
    with io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, strict=True)
        header = _header(reader, columns)
        places = {column.name: header.index(column.name) for column in columns}
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield Row(number, fault=f"is not CSV: {error}")
                continue
            if cells is None:
                return
            if cells:
                yield _cells(number, cells, len(header), places)


def _header(reader: Iterator[list[str]], columns: Sequence[Column]) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise Unfit(f"has a header that is not CSV: {error}") from None
    if any(map(_SURROGATE.search, header)):
        raise Unfit("has a header that is not UTF-8; save the file as UTF-8")
    _check(columns, header)
    return header


def _cells(number: int, cells: list[str], width: int, places: dict[str, int]) -> Row:
    if len(cells) != width:
        fault = (
            f"has {len(cells)} cells, the header {width}; put cells that hold commas or quotes into quotes"
        )
        return Row(number, fault=fault)
    found = {name: cells[place] for name, place in places.items()}
    for name, cell in found.items():
        try:
            cell.encode("utf-8", "surrogateescape").decode("utf-8")
        except UnicodeDecodeError as error:
            return _not_text(number, name, error)
    return Row(number, found)


def _parquet(raw: IO[bytes], columns: Sequence[Column]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(raw) as file:
            _check(columns, file.schema_arrow.names)
            names, number = [column.name for column in columns], 0
            for batch in file.iter_batches(batch_size=_BATCH, columns=names):
                decoded = [_values(batch.column(name)) for name in names]
                for values in zip(*decoded, strict=True):
                    number += 1
                    yield _decoded(number, dict(zip(names, values, strict=True)))
    except (pa.ArrowException, OSError) as error:
        raise Unfit(f"is not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _values(column: Any) -> list[Any]:
    """A column as Python values; in the place of text that is not UTF-8, which Parquet does not check, its error."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_value(cell) for cell in column]


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError as error:
        return error


def _decoded(number: int, values: dict[str, Any]) -> Row:
    for name, value in values.items():
        if isinstance(value, UnicodeDecodeError):
            return _not_text(number, name, value)
    return Row(number, values)


def _not_text(number: int, name: str, error: UnicodeDecodeError) -> Row:
    return Row(number, fault=f"{name} is not UTF-8 at byte {error.start + 1}")


def _check(columns: Sequence[Column], names: Sequence[str]) -> None:
    """Raises `Unfit` when a file's columns lack a wanted one, or have it twice."""
    faults = [missing(column, names) for column in columns if column.name not in names]
    faults += [f"has the column {c.name} twice; rename one" for c in columns if names.count(c.name) > 1]
    if faults:
        raise Unfit(*faults)
