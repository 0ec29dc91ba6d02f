"""JSONL files: one object per line, each with its line number, or with its fault.

Every file of questions, problems, labels or replies that a user gives is read here; what a record must contain is
checked by the caller. Lines end only at "\\n" (U+2028 and similar characters are text), blank lines are skipped, a
byte order mark is accepted.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veridistill.errors import ConfigError

MAX_FAULTS = 20
BOM = b"\xef\xbb\xbf"
TOO_MUCH = "a number is too long or the nesting too deep"


@dataclass(frozen=True, slots=True)
class Row:
    """One record and its number, counted from 1; or no record, and the `fault` of the line."""

    number: int
    record: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


class Faults:
    """The first faults of files in full, and the number of all. `path` is the file that is being read."""

    def __init__(self, path: Path | str) -> None:
        self.path, self.lines, self.count = path, list[str](), 0

    def add(self, row: int | None, fault: str) -> None:
        """A fault of a row, or of the file as a whole."""
        self.count += 1
        if len(self.lines) < MAX_FAULTS:
            self.lines.append(f"{self.path}{'' if row is None else f':{row}'}: {fault}")

    def check(self) -> None:
        """Raise one `ConfigError` with all faults, if there are any."""
        if self.count:
            more = [f"... and {self.count - MAX_FAULTS} more"] if self.count > MAX_FAULTS else []
            raise ConfigError("\n".join([*self.lines, *more]))


def read(path: Path) -> Iterator[Row]:
    """The rows of a file. Raises `ConfigError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            yield from parse(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a JSONL file") from None


def parse(lines: Iterable[bytes]) -> Iterator[Row]:
    """A row for each line that is not blank."""
    for number, line in enumerate(lines, 1):
        if line.removeprefix(BOM).strip():
            yield row(number, line)


def row(number: int, line: bytes) -> Row:
    """The row that the line of this number is, counted from 1."""
    raw = line.removeprefix(BOM) if number == 1 else line
    try:
        return of_value(number, decoded(raw))
    except UnicodeDecodeError as error:
        return Row(
            number, fault=f"is not UTF-8 at byte {error.start + 1} of the line; save the file as UTF-8"
        )
    except json.JSONDecodeError as error:
        cut = "" if raw.endswith(b"\n") else ", where the file ends: was it cut off?"
        return Row(
            number,
            fault=f"is not JSON: {error.msg} (character {error.pos + 1}){cut}; give one object per line",
        )
    except (ValueError, RecursionError):
        return Row(number, fault=f"is not JSON that can be read: {TOO_MUCH}")


def decoded(raw: bytes) -> Any:
    """The value of a JSON text. Raises what `json.loads` and decoding raise."""
    return json.loads(raw.decode("utf-8"), object_pairs_hook=_object)


def of_value(number: int, value: Any) -> Row:
    """The row that a value is, or its fault."""
    if not isinstance(value, dict):
        return Row(number, fault=f"must be a JSON object; found {shown(value)}")
    if isinstance(value, _Ambiguous):
        return Row(number, fault=f"has the key {shown(value.key)} twice; keep one of them")
    return Row(number, value)


class _Ambiguous(dict[str, Any]):
    """An object in which a key comes twice."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    ambiguous = _Ambiguous(found)
    ambiguous.key = next(name for name in names if names.count(name) > 1)
    return ambiguous


def shown(value: Any) -> str:
    """A value for an error message, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
