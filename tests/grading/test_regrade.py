"""Grading again: lines and tables, in order, with every bad line told and none ending the rest."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from veridistill.data import jsonl, tables
from veridistill.errors import ConfigError
from veridistill.grading import regrade
from veridistill.grading.graders import Graders
from veridistill.records import Attempt, Problem

GOOD = {"id": "a", "kind": "integer", "reference": "42", "response": r"<think>x</think>\boxed{42}"}


def rows(texts: Iterable[str]) -> Iterator[jsonl.Row]:
    return jsonl.parse(text.encode() for text in texts)


def lines(*records: object) -> list[dict[str, Any]]:
    texts = [record if isinstance(record, str) else json.dumps(record) for record in records]

    async def all_of_them() -> list[dict[str, Any]]:
        async with Graders(workers=1) as graders:
            return [line async for line in regrade.regrade_rows(rows(texts), graders)]

    return asyncio.run(all_of_them())


def test_lines_of_every_kind_come_back_in_order() -> None:
    found = lines(
        GOOD,
        {"id": 2, "kind": "math", "reference": r"2\sqrt2", "response": r"\boxed{\sqrt8}"},
        {"id": "c", "kind": "choice", "reference": "B", "response": "Answer: B", "options": ["x", "y"]},
        "\n",
        {"id": "d", "kind": "choice", "reference": "B", "response": r"\boxed{x}", "options": ["x", "y"]},
        {"id": "e", "kind": "exact", "reference": "Paris", "response": "Answer: paris"},
        {"id": "f", "kind": "integer", "reference": 7, "response": r"<think>\boxed{7}"},
        {"id": "g", "kind": "math", "reference": r"\foo{", "response": r"\boxed{3}"},
    )
    assert found == [
        {"id": "a", "outcome": "pass", "answer": "42", "error": ""},
        {"id": 2, "outcome": "pass", "answer": r"\sqrt8", "error": ""},
        {"id": "c", "outcome": "pass", "answer": "B", "error": ""},
        {"id": "d", "outcome": "wrong", "answer": "A", "error": ""},
        {"id": "e", "outcome": "pass", "answer": "paris", "error": ""},
        {"id": "f", "outcome": "no_answer", "answer": None, "error": ""},
        {
            "id": "g",
            "outcome": "unreadable_reference",
            "answer": "3",
            "error": "the reference '\\\\foo{' cannot be read as mathematics",
        },
    ]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "line 2: is not JSON"),
        ("[1]", "line 2: must be a JSON object; found [1]"),
        ("[" * 100_000, "line 2: is not JSON"),
        (
            {**GOOD, "kind": "essay"},
            "kind must be one of integer, math, quantity, choice, exact, code; found 'essay'",
        ),
        ({"kind": "integer"}, "id is missing"),
        ({**GOOD, "response": None}, "response must be the text of a reply; found None"),
        ({**GOOD, "response": ["x"]}, "response must be the text of a reply; found ['x']"),
        ({**GOOD, "reference": ""}, "reference must be the right answer, as text; found ''"),
        ({**GOOD, "reference": True}, "reference must be the right answer"),
        ({**GOOD, "options": "AB"}, "options must be a list of strings"),
        (
            {**GOOD, "kind": "code"},
            "tests must be an object with kind and cases, or a list of asserts; found None",
        ),
    ],
)
def test_a_bad_line_is_told_and_ends_nothing(line: object, error: str) -> None:
    found = lines(GOOD, line, GOOD)
    assert [one["outcome"] for one in found] == ["pass", "grader_error", "pass"]
    assert error in found[1]["error"]


def test_programs_need_leave() -> None:
    code = {
        "id": "p",
        "kind": "code",
        "tests": [{"input": "", "output": "1"}],
        "response": "```\nprint(1)\n```",
    }
    with pytest.raises(ConfigError, match="--allow-code-execution"):
        lines(code)


def test_asserts_are_run_as_a_list_or_as_a_record() -> None:
    line = {
        "id": "p",
        "kind": "code",
        "entry": "f",
        "tests": ["assert f(1) == 2"],
        "solution": "def f(n): return n + 1",
        "response": "```python\ndef f(n): return n + 1\n```",
    }
    record = {"kind": "asserts", "entry": "f", "tests": line["tests"]}
    texts = [
        json.dumps(one)
        for one in (
            line,
            line | {"tests": record},
            line | {"response": "```\ndef f(n): return n\n```"},
            line | {"solution": "def f(n): return n"},
            line | {"tests": ["assert f(1"]},
            {**line, "entry": "g"},
        )
    ]

    async def all_of_them() -> list[dict[str, Any]]:
        async with Graders(workers=1, allow_code=True) as graders:
            return [one async for one in regrade.regrade_rows(rows(texts), graders)]

    found = asyncio.run(all_of_them())
    assert [one["outcome"] for one in found] == ["pass", "pass", "wrong", *["unreadable_reference"] * 3]
    assert "the problem's own solution does not pass its tests here (wrong)" in found[3]["error"]
    assert "tests: item 1 is not Python: '(' was never closed" in found[4]["error"]
    assert "solution does not define g, which entry names" in found[5]["error"]


def test_programs_are_run() -> None:
    tests = {"kind": "stdin", "cases": [{"input": "2\n", "output": "4\n"}]}
    texts = [
        json.dumps(
            {"id": answer, "kind": "code", "tests": given, "response": f"```python\nprint({answer})\n```"}
        )
        for answer in ("2 + 2", "5")
        for given in (tests, tests["cases"], json.dumps(tests))
    ]

    async def all_of_them() -> list[str]:
        async with Graders(workers=1, allow_code=True) as graders:
            return [line["outcome"] async for line in regrade.regrade_rows(rows(texts), graders)]

    assert asyncio.run(all_of_them()) == ["pass"] * 3 + ["wrong"] * 3


def test_memory_is_bounded() -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield json.dumps(GOOD)

    async def some() -> None:
        async with Graders(workers=1) as graders:
            results = regrade.regrade_rows(rows(endless()), graders)
            for _ in range(10):
                await anext(results)
            await results.aclose()

    asyncio.run(some())
    assert taken <= regrade.WINDOW + 11


PROBLEMS = [
    Problem("1", "b", "integer", "?", "42"),
    Problem("2", "b", "math", "?", r"\frac12", options=("x",)),
    Problem("3", "b", "integer", "?", "many"),
]
OLD = [
    Attempt("1", "b", 0, "42", "wrong", "", "stop", 7, r"\boxed{42}"),
    Attempt("1", "b", 1, None, "pass", "", "length", 7, "<think>"),
    Attempt("2", "b", 0, None, "refused", "too long", "refused"),
    Attempt("2", "b", 1, "0.5", "grader_error", "no worker", "stop", 7, r"\boxed{0.5}"),
    Attempt("3", "b", 0, "many", "pass", "", "stop", 7, r"\boxed{many}"),
    Attempt("3", "b", 1, None, "refused", "too long", "refused"),
]
MANY = "the reference 'many' is no integer"
NEW = [
    replace(OLD[0], outcome="pass"),
    replace(OLD[1], outcome="no_answer", error="truncated"),
    OLD[2],
    replace(OLD[3], outcome="pass", error=""),
    replace(OLD[4], outcome="unreadable_reference", error=MANY),
    replace(OLD[5], outcome="unreadable_reference", error=MANY),
]


def table(path: Path) -> list[dict[str, Any]]:
    async def all_of_them() -> list[dict[str, Any]]:
        async with Graders(workers=1) as graders:
            return [line async for line in regrade.regrade(path, graders)]

    return asyncio.run(all_of_them())


def test_a_table_is_graded_by_the_problems_beside_it(tmp_path: Path) -> None:
    tables.PROBLEMS.write(tmp_path / "problems.parquet", PROBLEMS)
    path = tmp_path / "exam_base.parquet"
    tables.ATTEMPTS.write(path, OLD)

    async def all_of_them() -> list[Attempt]:
        async with Graders(workers=1) as graders:
            return [made async for made in regrade.regrade_table(path, graders)]

    assert asyncio.run(all_of_them()) == NEW
    assert table(path)[1] == {
        "id": "1",
        "benchmark": "b",
        "index": 1,
        "outcome": "no_answer",
        "answer": None,
        "error": "truncated",
    }


def test_a_table_without_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "exam_base.parquet"
    tables.ATTEMPTS.write(path, OLD)
    with pytest.raises(ConfigError, match=r"problems.parquet: not found"):
        table(path)
    tables.PROBLEMS.write(tmp_path / "problems.parquet", PROBLEMS[:1])
    with pytest.raises(ConfigError, match=r"lacks b/2, to which exam_base.parquet has an answer"):
        table(path)


def test_a_file_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text(json.dumps({**GOOD, "id": "\u2028"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert table(path) == [{"id": "\u2028", "outcome": "pass", "answer": "42", "error": ""}]
    with pytest.raises(ConfigError, match=r"cannot be read .*give a JSONL file"):
        table(tmp_path / "missing.jsonl")
    path.write_bytes(b"\xff\n" + json.dumps(GOOD).encode())
    bad, good = table(path)
    assert (bad["outcome"], good["outcome"]) == ("grader_error", "pass")
    assert "line 1: is not UTF-8" in bad["error"]
