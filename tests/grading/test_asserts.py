"""Tests that are Python, as text: what is wrong with them, which names stand for the program's, and what is run."""

from typing import Any

import pytest

from veridistill.grading.asserts import Asserts, asserts_of, called, faults

GOOD: dict[str, Any] = {"kind": "asserts", "entry": "f", "tests": ["assert f(1) == 2"]}
PROMPT = '''import math
from typing import List


def poly(xs: List[float], x: float):
    """ Helper. """
    return sum(c * math.pow(x, i) for i, c in enumerate(xs))


def find_zero(xs: List[float]):
    """ Find it. """
'''


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"entry": None}, "entry must name the function that the tests call; found None"),
        ({"entry": "a b"}, "entry must name the function that the tests call; found 'a b'"),
        ({"tests": []}, "tests must be a non-empty list of Python texts; found []"),
        ({"tests": "assert f(1)"}, "tests must be a non-empty list of Python texts; found 'assert f(1)'"),
        ({"tests": ["assert f(1)", " "]}, "tests must be a non-empty list of Python texts; found ['assert"),
        (
            {"tests": ["assert f(1)", "assert f(1"]},
            "tests: item 2 is not Python: '(' was never closed (line 1); found 'assert f(1'",
        ),
        ({"tests": ["return f(1)"]}, "tests: item 1 is not Python: 'return' outside function (line 1)"),
        ({"tests": ["assert f(\0)"]}, "tests: item 1 is not Python: source code string cannot contain null"),
        ({"tests": ["assert g(1)"]}, "tests: none uses f, which entry names"),
        ({"setup": 3}, "setup must be Python text; found 3"),
        ({"setup": "import"}, "setup is not Python: "),
        ({"solution": "def g(): pass"}, "solution does not define f, which entry names"),
        ({"prompt": "def g(): pass"}, "prompt does not define f, which entry names"),
        ({"prompt": "def f(:"}, "prompt is not Python: "),
    ],
)
def test_faults_name_the_field_and_the_value(change: dict[str, Any], fault: str) -> None:
    (found,) = faults(GOOD | change)
    assert found.startswith(fault)
    with pytest.raises(ValueError, match="^" + found[:10]):
        asserts_of(GOOD | change)


def test_all_faults_come_at_once_under_the_names_of_the_file() -> None:
    record = GOOD | {"entry": "", "tests": ["assert f("], "solution": "def f("}
    found = faults(record, {"entry": "entry_point", "tests": "test_list", "solution": "code"})
    assert [one.split(":")[0].split(" ")[0] for one in found] == ["entry_point", "code", "test_list"]
    assert faults(GOOD) == []


def test_each_test_is_a_text_of_its_own() -> None:
    """What no text may say behind another one may stand at the beginning of each."""
    record = GOOD | {
        "setup": "x = 1",
        "tests": ["from __future__ import annotations\nassert f(x)", "global x\nf(x)"],
    }
    assert asserts_of(record).stand_ins() == {"f"}


def test_a_function_of_any_depth_counts_as_used() -> None:
    check = "def check(candidate):\n    for n in range(3):\n        assert (lambda: f(n))() == n\ncheck(None)"
    assert faults(GOOD | {"tests": [check]}) == []


@pytest.mark.parametrize(
    ("test", "solution", "entry"),
    [
        ("assert f(1) == 2", "def f(n): pass", "f"),
        ("assert set(f(1)) == set([2])", "def f(n): pass", "f"),
        ("assert sum(1, 2) == 3", "def sum(a, b): pass", "sum"),
        ("assert chain([Pair(1, 2)], 4) == 3", "class Pair: pass\ndef chain(a, n): pass", "chain"),
        ("assert (f(root)) == 3", "f = lambda n: n", "f"),
        ("assert g(1) == 2", "def f(n): pass", ""),
        ("assert f(", "def f(n): pass", ""),
    ],
)
def test_the_function_that_tests_call_first(test: str, solution: str, entry: str) -> None:
    assert called([test], solution) == entry


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        (Asserts("f", ("assert f(1) == len([1])",)), {"f"}),
        (Asserts("sum", ("assert sum(1, 2) == 3",)), {"sum"}),
        (Asserts("f", ("assert f([Pair(1)])",)), {"f", "Pair"}),
        (Asserts("f", ("assert f(root)",), "root = Node(1)\nroot.left = Node(2)"), {"f", "Node"}),
        (Asserts("f", ("import math\nassert f(math.pi)",)), {"f"}),
        (Asserts("f", ("def check(g):\n    x = 1\n    assert g(x) == h(x)\ncheck(f)",)), {"f", "h"}),
        (
            Asserts("f", ("assert f(max(1, 2))",), solution="def f(n): pass\ndef max(a, b): pass"),
            {"f", "max"},
        ),
        (Asserts("f", ("assert f(1) == sys.maxsize",), solution="import sys\ndef f(n): pass"), {"f"}),
        (
            Asserts("find_zero", ("assert poly([1], find_zero([1])) == 1",), prompt=PROMPT),
            {"find_zero"},
        ),
    ],
)
def test_names_that_stand_for_the_programs(tests: Asserts, expected: set[str]) -> None:
    assert tests.stand_ins() == expected


def test_the_tests_have_the_prompts_helpers_and_the_solutions_imports() -> None:
    tests = Asserts("find_zero", ("assert poly([1], find_zero([1])) == sys.maxsize",), "import re", PROMPT)
    preamble, imports, setup = tests.steps()
    assert "def poly" in preamble
    assert "import math" in preamble
    assert "find_zero" not in preamble
    assert (imports, setup) == ("", "import re")
    solved = Asserts("f", ("assert f(1) == sys.maxsize",), solution="import os\nimport sys\ndef f(n): pass")
    assert solved.steps() == ["", "import sys", ""]


WHOLE = "def find_zero(xs):\n    return poly(xs, 0)"
REPLIES = {
    "whole function": WHOLE,
    "body": "    return poly(xs, 0)",
    "body without its indent": "y = poly(xs, 0)\nreturn y",
    "body whose first line lost its indent": "y = poly(xs, 0)\n    return y",
    "whole prompt": PROMPT + "    return poly(xs, 0)",
    "assigned": "find_zero = lambda xs: poly(xs, 0)",
    "future": "from __future__ import annotations\n" + WHOLE,
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=list(REPLIES))
def test_a_reply_may_leave_out_what_the_prompt_has(reply: str) -> None:
    tests = Asserts("find_zero", ("assert find_zero([7.0]) == 7.0",), prompt=PROMPT)
    space: dict[str, Any] = {}
    for text in tests.program(reply):
        exec(compile(text, "program", "exec", dont_inherit=True), space)
    assert space["find_zero"]([7.0]) == 7.0


@pytest.mark.parametrize("reply", ["def other(xs): pass", "not python at all", "x = (", ""])
def test_a_reply_that_is_no_answer_gets_no_answer(reply: str) -> None:
    tests = Asserts("find_zero", ("assert find_zero([7.0]) == 7.0",), prompt=PROMPT)
    space: dict[str, Any] = {}
    try:
        for text in tests.program(reply):
            exec(compile(text, "program", "exec", dont_inherit=True), space)
    except SyntaxError:
        return
    assert "find_zero" not in space or space["find_zero"]([7.0]) is None


def test_without_a_prompt_a_program_stays_as_it_is() -> None:
    assert Asserts("f", ("assert f(1)",)).program("def g(): pass") == ["def g(): pass"]
