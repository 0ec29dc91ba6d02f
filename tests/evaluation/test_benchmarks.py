"""Loading problems: what is read, and that every fault is told at once."""

import json
from pathlib import Path

import pytest

from veridistill.errors import ConfigError
from veridistill.evaluation.benchmarks import load
from veridistill.records import Problem

GOOD = {"id": "p1", "kind": "integer", "question": "6*7?", "answer": "42"}


def write(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def test_loads_problems_named_for_their_file(tmp_path: Path) -> None:
    second = {**GOOD, "id": 2, "kind": "choice", "answer": "B", "extra": None, "question": "A or\u2028B?"}
    path = write(tmp_path / "mine.jsonl", GOOD, "", second)
    assert load(path) == [
        Problem("p1", "mine", "integer", "6*7?", "42"),
        Problem("2", "mine", "choice", "A or\u2028B?", "B"),
    ]
    assert [p.benchmark for p in load(path, limit=1, benchmark="b")] == ["b"]


def test_an_answer_may_be_a_json_integer(tmp_path: Path) -> None:
    assert load(write(tmp_path / "a.jsonl", {**GOOD, "answer": 42}))[0].reference == "42"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object with id, kind, question, answer; found list"),
        ({k: v for k, v in GOOD.items() if k != "answer"}, "answer is missing"),
        ({**GOOD, "question": 5}, "question must be text; found int"),
        ({**GOOD, "answer": True}, "answer must be text; found bool"),
        ({**GOOD, "question": "  "}, "question is empty"),
        ({**GOOD, "kind": "essay"}, "kind must be one of integer, exact, choice, math; found 'essay'"),
        ({**GOOD, "answer": "many"}, "answer 'many' is no reference of kind integer"),
        ({**GOOD, "kind": "choice"}, "answer '42' is no reference of kind choice"),
    ],
)
def test_faults_name_the_line_and_the_value(tmp_path: Path, line: object, fault: str) -> None:
    path = write(tmp_path / "a.jsonl", {**GOOD, "id": "fine"}, line)
    with pytest.raises(ConfigError) as error:
        load(path, limit=1)
    assert f"{path}:2: {fault}" in str(error.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, GOOD, "{", {**GOOD, "id": "", "question": None})
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(error.value).split("\n")[0] == f"{path}:2: id 'p1' is used before, in line 1"
    assert [line.partition(":")[2][:1] for line in str(error.value).split("\n")] == ["2", "3", "4", "4"]


def test_many_faults_are_cut(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"and 80 more$"):
        load(write(tmp_path / "a.jsonl", *["{"] * 100))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read"),
        (b"", "holds no problems"),
        (b"\n \n", "holds no problems"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_files_without_problems(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "a.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=fault):
        load(path)
