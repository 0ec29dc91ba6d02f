"""Own problems: what is read, how options, starter code and tests are taken over, and that faults are told at once."""

import json
from pathlib import Path

import pytest

from veridistill.errors import ConfigError
from veridistill.evaluation.benchmarks import load
from veridistill.records import Problem

GOOD = {"id": "p1", "kind": "integer", "question": "6*7?", "answer": "42"}
CHOICE = {
    "id": "c",
    "kind": "choice",
    "question": "Which is prime?",
    "choices": ["4", "7", "B", "C"],
    "answer": "7",
}
TESTS = {"kind": "functional", "entry": "double", "cases": [{"input": "3", "output": "6"}]}
CODE = {"id": "d", "kind": "code", "question": "Double it.", "tests": TESTS}


def write(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def test_loads_problems_named_for_their_file(tmp_path: Path) -> None:
    second = {**GOOD, "id": 2, "kind": "choice", "answer": "B", "extra": None, "question": "A or\u2028B?"}
    path = write(tmp_path / "mine.jsonl", GOOD, "", second)
    assert load(path) == [
        Problem("p1", "mine", "integer", "6*7?", "42"),
        Problem("2", "mine", "choice", "A or\u2028B?", "B", "science"),
    ]
    assert [p.benchmark for p in load(path, limit=1, benchmark="b")] == ["b"]


def test_an_answer_may_be_a_json_integer(tmp_path: Path) -> None:
    assert load(write(tmp_path / "a.jsonl", {**GOOD, "answer": 42}))[0].reference == "42"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("A", "A"), ("7", "B"), (1, "B"), (0, "A"), ("4", "A"), ("D", "D"), (3, "D")],
)
def test_the_right_choice_is_a_letter_a_text_or_an_index(tmp_path: Path, answer: object, letter: str) -> None:
    (problem,) = load(write(tmp_path / "a.jsonl", {**CHOICE, "answer": answer}))
    assert problem.reference == letter
    assert problem.options == ("4", "7", "B", "C")
    assert problem.question == "Which is prime?\n\nA. 4\nB. 7\nC. B\nD. C"


ASSERTS = {
    "id": "s",
    "kind": "code",
    "question": "Double it.",
    "entry": "double",
    "tests": ["assert double(2) == 4"],
}


def test_tests_may_be_asserts(tmp_path: Path) -> None:
    (problem,) = load(write(tmp_path / "a.jsonl", {**ASSERTS, "setup": "import math"}))
    record = {
        "kind": "asserts",
        "entry": "double",
        "tests": ["assert double(2) == 4"],
        "setup": "import math",
    }
    assert json.loads(problem.tests) == record
    assert (problem.question, problem.kind, problem.reference) == ("Double it.", "code", "")
    (same,) = load(write(tmp_path / "a.jsonl", {**CODE, "id": "s", "tests": record}))
    assert same == problem


@pytest.mark.parametrize("answer", ["C", "7 m", 2])
def test_choices_may_be_called_options(tmp_path: Path, answer: object) -> None:
    record = {
        "id": "o",
        "kind": "choice",
        "question": "Which?",
        "options": ["4", "5", "7 m"],
        "answer": answer,
    }
    (problem,) = load(write(tmp_path / "a.jsonl", record))
    assert (problem.reference, problem.options) == ("C", ("4", "5", "7 m"))
    assert problem.question == "Which?\n\nA. 4\nB. 5\nC. 7 m"


def test_a_program_is_given_its_starter_code_and_keeps_its_tests(tmp_path: Path) -> None:
    starter = "def double(n: int) -> int:\n    "
    (problem,) = load(write(tmp_path / "a.jsonl", {**CODE, "starter_code": starter}))
    assert problem.question == (
        "Double it.\n\nStart from this code:\n```python\ndef double(n: int) -> int:\n```"
    )
    assert json.loads(problem.tests) == TESTS
    assert (problem.kind, problem.domain, problem.reference) == ("code", "code", "")
    assert load(write(tmp_path / "a.jsonl", CODE))[0].question == "Double it."
    (method,) = load(write(tmp_path / "a.jsonl", {**CODE, "starter_code": "\n    def double(self):\n\n"}))
    assert method.question.endswith("```python\n    def double(self):\n```")


@pytest.mark.parametrize(
    ("record", "domain"),
    [
        (GOOD, "math"),
        ({**GOOD, "kind": "math"}, "math"),
        ({**GOOD, "kind": "exact"}, "science"),
        (CHOICE, "science"),
        (CODE, "code"),
        ({**CHOICE, "domain": "math"}, "math"),
    ],
)
def test_the_domain_is_that_of_the_kind_unless_given(tmp_path: Path, record: object, domain: str) -> None:
    assert load(write(tmp_path / "a.jsonl", record))[0].domain == domain


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object; found []"),
        ({k: v for k, v in GOOD.items() if k != "answer"}, "answer is missing"),
        ({**GOOD, "question": 5}, "question must be text; found int"),
        ({**GOOD, "answer": True}, "answer must be text; found bool"),
        ({**GOOD, "question": "  "}, "question is empty"),
        (
            {**GOOD, "kind": "essay"},
            "kind must be one of integer, math, quantity, choice, exact, code; found 'essay'",
        ),
        ({**GOOD, "answer": "many"}, "answer 'many' is not a reference of kind integer"),
        ({**GOOD, "kind": "choice"}, "answer '42' is not a reference of kind choice"),
        ({**GOOD, "domain": "law"}, "domain must be one of math, science, code; found 'law'"),
        (
            {**CHOICE, "answer": "E"},
            "answer must be the letter, text or index from 0 of one of choices; 'E' is none of them",
        ),
        (
            {**CHOICE, "answer": 4},
            "answer must be the letter, text or index from 0 of one of choices; 4 is none of them",
        ),
        (
            {**CHOICE, "answer": -1},
            "answer must be the letter, text or index from 0 of one of choices; -1 is none of them",
        ),
        (
            {**CHOICE, "answer": "B"},
            "answer must be the letter, text or index from 0 of one of choices; 'B' could be B or C",
        ),
        (
            {**CHOICE, "choices": ["7", "7"]},
            "answer must be the letter, text or index from 0 of one of choices; '7' could be A or B",
        ),
        ({**CHOICE, "choices": ["7"]}, "choices must be 2 to 26; found 1"),
        ({**CHOICE, "choices": ["7", " "]}, "choices must be a list of strings; found ['7', ' ']"),
        ({**CHOICE, "choices": "7"}, "choices must be a list of strings; found '7'"),
        ({k: v for k, v in CHOICE.items() if k != "answer"}, "answer is missing"),
        (
            {**CODE, "tests": None},
            "tests must be an object with kind and cases, or a list of asserts; found None",
        ),
        (
            {**CODE, "tests": {**TESTS, "kind": "files"}},
            "tests.kind must be stdin, functional or asserts; found 'files'",
        ),
        (
            {**CODE, "tests": {**TESTS, "entry": "a b"}},
            "tests.entry must name the function to call; found 'a b'",
        ),
        ({**CODE, "tests": {**TESTS, "cases": []}}, "tests.cases must be a non-empty list; found []"),
        (
            {**CODE, "tests": {**TESTS, "cases": [{"input": "1"}]}},
            "tests.cases: case 1 must have input and",
        ),
        (
            {**ASSERTS, "tests": ["assert double(2) == 4", "assert double(2"]},
            "tests: item 2 is not Python: '(' was never closed (line 1); found 'assert double(2'",
        ),
        ({**ASSERTS, "tests": ["assert twice(2) == 4"]}, "tests: none uses double, which entry names"),
        (
            {k: v for k, v in ASSERTS.items() if k != "entry"},
            "entry must name the function that the tests call; found None",
        ),
        ({**ASSERTS, "tests": []}, "tests must be a non-empty list of Python texts; found []"),
        ({**ASSERTS, "solution": "def twice(n): pass"}, "solution does not define double, which entry names"),
        ({**CHOICE, "choices": None, "options": ["7"]}, "choices must be a list of strings; found None"),
        ({**CODE, "starter_code": 1}, "starter_code must be text; found 1"),
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
    assert str(error.value).split("\n")[0] == f"{path}:2: id 'p1' is already used in line 1"
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
