"""Rows as files of a dataset folder: Parquet, JSON lines, or CSV.

Token ids are written to Parquet alone: they serve training with the same tokenizer, and nobody reads them.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from veridistill.data.parquet import Table
from veridistill.records import Message

Format = Literal["hub", "jsonl", "csv"]

_IDS = "list<int32>"
_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")
"""How a text begins that a spreadsheet would run as a formula, or that begins with the mark that prevents it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the folder, by its path in it; `columns` with their types as `data.tables` has them."""

    path: str
    rows: int
    size: int
    columns: Mapping[str, str]


def write(folder: Path, table: Table[Any], rows: Iterable[Any], form: Format) -> Written:
    """All rows as one file under `folder`."""
    if form == "hub":
        path, columns = folder / "data" / f"{table.name}.parquet", table.columns
        num = table.write(path, rows)
    else:
        path = folder / f"{table.name}.{form}"
        columns = {name: kind for name, kind in table.columns.items() if kind != _IDS}
        records = ({name: getattr(row, name) for name in columns} for row in rows)
        num = _write_lines(path, _json_lines(records) if form == "jsonl" else _csv_lines(columns, records))
        num -= form == "csv"  # the header
    return Written(path.relative_to(folder).as_posix(), num, path.stat().st_size, columns)


def _write_lines(path: Path, lines: Iterable[str]) -> int:
    num = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for line in lines:
            file.write(line)
            num += 1
        file.flush()
        os.fsync(file.fileno())
    return num


def _json_lines(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for record in records:
        yield json.dumps({name: _plain(value) for name, value in record.items()}, ensure_ascii=False) + "\n"


def _csv_lines(columns: Iterable[str], records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """RFC 4180: a header, CRLF, texts in quotes, quotes doubled. Null is an empty cell without quotes."""
    yield ",".join(columns) + "\r\n"
    for record in records:
        yield ",".join(map(_cell, record.values())) + "\r\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False)
    return '"' + guarded(text).replace('"', '""') + '"'


def guarded(text: str) -> str:
    """A text that no spreadsheet runs as a formula: with ' in front where it begins as one does and is no number.

    Without the first character of each text that begins with ', all texts are as they were.
    """
    return f"'{text}" if text.startswith(_RISKY) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-").removeprefix("+")
    return digits.replace(".", "", 1).isdecimal() and digits.isascii()


def _plain(value: Any) -> Any:
    """A value as JSON has it: messages as objects."""
    if isinstance(value, tuple):
        return [item._asdict() if isinstance(item, Message) else item for item in value]
    return value
