"""JSONL: what a line is, what is wrong with one, and that every reader of such files says the same of it."""

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from veridistill.audit import labels
from veridistill.config import SeedsSection
from veridistill.data import jsonl, seeds
from veridistill.errors import ConfigError
from veridistill.evaluation.benchmarks import own
from veridistill.grading.graders import Graders
from veridistill.grading.regrade import regrade


def parse(content: bytes) -> list[jsonl.Row]:
    return list(jsonl.parse(content.splitlines(keepends=True)))


def test_rows_are_numbered_and_blank_lines_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n \t\r\n{"a": 2}')
    assert list(jsonl.read(path)) == [jsonl.Row(1, {"a": 1}), jsonl.Row(4, {"a": 2})]


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    path, text = tmp_path / "a.jsonl", "a\u2028b\u0085c\u2029"
    path.write_text(json.dumps({"a": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [row.record for row in jsonl.read(path)] == [{"a": text}]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{a}\n", "is not JSON: Expecting property name enclosed in double quotes (character 2); give one"),
        (b'{"a": 1} {"a": 2}\n', "is not JSON: Extra data (character 10); give one object per line"),
        (b'{"a": "b', "is not JSON: Unterminated string starting at (character 7), where the file ends: was it"),
        (b'{"a": "\xff"}\n', "is not UTF-8 at byte 8 of the line; save the file as UTF-8"),
        (b"[" * 100_000, "is not JSON that can be read: a number is too long or the nesting too deep"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "is not JSON that can be read: a number is too long"),
        (b"[1]\n", "must be a JSON object; found [1]"),
        (b"null\n", "must be a JSON object; found None"),
        (b'"text"\n', "must be a JSON object; found 'text'"),
        (b'{"a": 1, "b": 2, "a": 1}\n', "has the key 'a' twice; keep one of them"),
        ("\ufeff{}\n".encode(), "is not JSON: "),
    ],
)  # fmt: skip
def test_a_line_that_is_no_record(line: bytes, fault: str) -> None:
    fine, row = parse(b'{"a": 1}\n' + line)
    assert (fine.fault, row.number, row.record) == ("", 2, {})
    assert row.fault.startswith(fault)


def test_a_repeated_key_inside_a_column_is_left_to_its_reader() -> None:
    assert [row.fault for row in parse(b'{"a": {"b": 1, "b": 2}}')] == [""]


def test_the_first_faults_are_told_and_all_are_counted() -> None:
    faults = jsonl.Faults(Path("a.jsonl"))
    faults.check()
    for number in range(1, 26):
        faults.add(number, "is bad")
    with pytest.raises(ConfigError) as caught:
        faults.check()
    lines = str(caught.value).split("\n")
    assert (lines[0], lines[19:]) == ("a.jsonl:1: is bad", ["a.jsonl:20: is bad", "... and 5 more"])


def regraded(path: Path) -> None:
    """Grading again ends for no line: it tells the first fault in its results."""

    async def first_fault() -> str:
        async with Graders(workers=1) as graders, aclosing(regrade(path, graders)) as lines:
            return next(str(line["error"]) for line in [line async for line in lines] if line["error"])

    raise ConfigError(f"{path}:{asyncio.run(first_fault()).removeprefix('line ')}")


READERS: dict[str, tuple[Callable[[Path], Any], dict[str, Any]]] = {
    "seeds": (lambda path: seeds.load(SeedsSection(path=(str(path),))), {"question": "1+1?"}),
    "labels": (labels.load, {"id": "a", "candidate": 0, "correct": True}),
    "own": (own.load, {"id": "a", "kind": "integer", "question": "1+1?", "answer": 2}),
    "regrade": (regraded, {"id": "a", "kind": "integer", "reference": "2", "response": r"\boxed{2}"}),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "line", [b"{\n", b"[]\n", b'{"id": "\xff"}\n', b'{"id": 1, "id": 2}\n', b'{"id": "torn']
)
def test_every_reader_tells_the_same_fault(name: str, line: bytes, tmp_path: Path) -> None:
    load, fine = READERS[name]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(fine).encode() + b"\r\n \n" + line)
    (_, bad) = jsonl.read(path)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:3: {bad.fault}"
