"""The tests of a programming problem: read from our own JSON or from a record of LiveCodeBench, within bounds.

Cases have an input and an expected output; tests that are Python are `asserts`.

The data is not trusted: nothing is unpickled, what is packed has a limit on what it unpacks to, and every fault is a
`ConfigError` that names the record. `Decoded` reads the tests of each problem once for all of its samples. Running
programs and comparing their output are left to `programs`.
"""

import asyncio
import base64
import binascii
import io
import json
import pickletools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from veridistill.errors import ConfigError
from veridistill.grading.asserts import Asserts, asserts_of

__all__ = ["MAX_BYTES", "Case", "Cases", "Decoded", "decode_cases", "from_json", "is_livecodebench"]

MAX_BYTES = 512 << 20
"""Of one record, packed and unpacked: LiveCodeBench's largest unpack to 199 MB."""
MAX_KEPT = 512 << 20
"""Characters of decoded tests that are kept for the next sample of their problem."""
_MAX_CASES = 10_000
_PRIVATE = "private:"
_TEXT = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}
_AROUND = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}


@dataclass(frozen=True, slots=True)
class Case:
    """One test. Of a functional problem `input` has one JSON value a line and `output` is JSON; else both are text."""

    input: str = field(repr=False)
    output: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cases:
    """A problem's tests in order. `entry` is the function to call, None where the program reads standard input."""

    kind: Literal["stdin", "functional"]
    entry: str | None
    cases: tuple[Case, ...]

    @property
    def size(self) -> int:
        """Characters."""
        return sum(len(case.input) + len(case.output) for case in self.cases)


@dataclass(frozen=True, slots=True)
class _Kept:
    """`size` is in characters."""

    found: Cases | Asserts | ConfigError
    size: int


class Decoded:
    """The tests of the problems that were graded last: at most `most` characters, and always the last problem's.

    Tests are decoded one problem at a time, in a thread, since decoding takes several times their size.
    `num_decoded` counts it.
    """

    def __init__(self, most: int = MAX_KEPT) -> None:
        self.num_decoded = 0
        self._most = most
        self._kept: dict[str, _Kept] = {}
        self._decoding = asyncio.Lock()

    async def get(self, tests: str) -> Cases | Asserts:
        """What `decode_cases` gives or raises."""
        async with self._decoding:
            kept = self._kept.pop(tests, None)
            if kept is None:
                self.num_decoded += 1
                kept = await asyncio.to_thread(_decoded, tests)
            self._kept[tests] = kept
            while len(self._kept) > 1 and sum(one.size for one in self._kept.values()) > self._most:
                del self._kept[next(iter(self._kept))]
        if isinstance(kept.found, ConfigError):
            raise kept.found
        return kept.found


def _decoded(tests: str) -> _Kept:
    try:
        found = decode_cases(tests)
    except ConfigError as error:
        return _Kept(error, len(str(error)))
    return _Kept(found, found.size)


def is_livecodebench(tests: str) -> bool:
    """Whether tests are those of a record of LiveCodeBench: its place in a file."""
    return tests.startswith("@")


def decode_cases(tests: str) -> Cases | Asserts:
    """The tests that a `Problem.tests` holds: JSON text, or `@path:offset:length` of a record in a file.

    Of `@private:path:offset:length` they are the record's private tests alone.

    Raises `ConfigError` when the file or the record is not as it should be, or is too large.
    """
    where = tests[:200] if is_livecodebench(tests) else "the tests"
    try:
        if not is_livecodebench(tests):
            return _own(from_json(tests))
        place = tests[1:].removeprefix(_PRIVATE)
        record = _record(place)
        public = [] if tests[1:] != place else json.loads(record["public_test_cases"])
        return _livecodebench(record, public)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"{where}: not valid tests of a program ({fault[:300]}); see docs/grading.md"
        ) from error


def from_json(text: str | bytes) -> Any:
    """JSON in which a whole number may have any number of digits: beyond 4,000 it is a `Decimal`, and as exact."""
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= 4000 else Decimal(digits))


def _record(place: str) -> Any:
    path, offset, length = place.rsplit(":", 2)
    if not 0 < int(length) <= MAX_BYTES:
        raise ValueError(f"a record of {length} bytes; at most {MAX_BYTES} are read")
    with open(path, "rb") as file:
        file.seek(int(offset))
        return json.loads(file.read(int(length)))


def _own(found: Any) -> Cases | Asserts:
    if found["kind"] == "asserts":
        return asserts_of(found)
    return _cases(found["kind"], found.get("entry"), found["cases"])


def _livecodebench(record: Any, public: Sequence[Any]) -> Cases:
    given = [*public, *_private(record["private_test_cases"])]
    kinds = {case["testtype"] for case in given}
    if len(kinds) != 1:
        raise ValueError(
            f"the test cases have the types {sorted(map(str, kinds))}; they must all have the same"
        )
    metadata = json.loads(record.get("metadata") or "{}")
    return _cases(kinds.pop(), metadata.get("func_name"), given)


def _private(text: str) -> list[Any]:
    """Private tests: JSON, or base64 of zlib of a pickled JSON string."""
    try:
        found = json.loads(text)
    except ValueError:
        try:
            packed = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"private_test_cases is neither JSON nor base64 ({error})") from error
        found = json.loads(_text_of_pickle(_unpacked(packed)))
    if type(found) is not list:
        raise TypeError(f"private_test_cases is a {type(found).__name__}, not a list")
    return found


def _unpacked(packed: bytes) -> bytes:
    machine = zlib.decompressobj()
    try:
        data = machine.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(f"private_test_cases cannot be decompressed ({error})") from error
    if machine.unconsumed_tail or not machine.eof:
        raise ValueError(f"private_test_cases are truncated or decompress to more than {MAX_BYTES} bytes")
    return data


def _text_of_pickle(data: bytes) -> str:
    """The one string that a pickle holds. The pickle is read and never executed: no opcode but a string's is known."""
    found: list[str] = []
    for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
        if opcode.name in _TEXT:
            found.append(str(argument))
        elif opcode.name in _BYTES:
            found.append(bytes(argument or b"").decode("utf-8"))
        elif opcode.name not in _AROUND:
            raise ValueError(f"the pickle holds {opcode.name}; only one string is allowed")
    if len(found) != 1:
        raise ValueError(f"the pickle holds {len(found)} strings; it must hold one")
    return found[0]


def _cases(kind: str, entry: str | None, given: Sequence[Any]) -> Cases:
    if kind not in ("stdin", "functional"):
        raise ValueError(f'the kind of the tests is {kind!r}; it must be "stdin", "functional" or "asserts"')
    if not 0 < len(given) <= _MAX_CASES:
        raise ValueError(f"there are {len(given)} test cases; there must be 1 to {_MAX_CASES}")
    cases = tuple(Case(_text(case["input"]), _text(case["output"])) for case in given)
    if kind == "stdin":
        return Cases("stdin", None, cases)
    if type(entry) is not str or not entry.isidentifier():
        raise ValueError(f"a functional problem needs the name of the function to call; found {entry!r}")
    for case in cases:
        from_json(case.output)
        for line in case.input.split("\n"):
            from_json(line)
    return Cases("functional", entry, cases)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"an input or output is a {type(value).__name__}; each must be text")
    value.encode("utf-8")
    return value
