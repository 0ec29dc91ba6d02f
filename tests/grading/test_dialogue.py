"""Programs and their asserts in two sandboxes: what travels, what right programs may do, what none can forge."""

import asyncio
import json
import os
import secrets
from typing import Any

import pytest

from veridistill.errors import ConfigError
from veridistill.grading import dialogue
from veridistill.grading.graders import Graders
from veridistill.grading.programs import Programs
from veridistill.grading.sandbox import Confinement, Limits
from veridistill.grading.sandbox.backends import Backend
from veridistill.grading.sandbox.interpreter import Interpreter
from veridistill.records import Grade, Problem

LIMITS = Limits(cpu=2, idle=1, output=1 << 20)


def asserts(*tests: str, entry: str = "f", **others: str) -> str:
    return json.dumps({"kind": "asserts", "entry": entry, "tests": tests, **others})


def graded(*jobs: tuple[str, str]) -> list[Grade]:
    async def all_of_them() -> list[Grade]:
        async with Programs(2, LIMITS) as programs:
            return list(await asyncio.gather(*(programs.grade(*job) for job in jobs)))

    try:
        return asyncio.run(all_of_them())
    except ConfigError as error:
        pytest.skip(f"no sandbox works on this machine: {error}")


def grade(code: str, *tests: str, entry: str = "f", **others: str) -> Grade:
    return graded((code, asserts(*tests, entry=entry, **others)))[0]


# --- what travels -------------------------------------------------------------------------------------------

VALUES = [
    *("None", "True", "False", "0", "-3", "10**5000", "1.5", "-0.0", "1e308", "float('inf')", "''"),
    *(
        r"'\ud800'",
        r"'é\n\x00'",
        "b'\\xff'",
        "bytearray(b'x')",
        "1+2j",
        "range(2, 9, 3)",
        "[]",
        "()",
        "set()",
    ),
    *("{}", "(1,)", "[(1, [2, {3}]), 'x']", "{1, 'a', (2, 3)}", "frozenset({1})", "{(1, 2): [3], None: {}}"),
    *("int", "ValueError", "[None, {'tuple': [1]}]", "{'held': 0}", "{'dict': 1, 'type': 'int'}"),
]


def test_plain_values_travel_there_and_back() -> None:
    tests = [f"x = f({value})\nassert type(x) is type({value}) and x == {value}, x" for value in VALUES]
    found = grade("def f(x): return x", *tests, "import math\nassert math.isnan(f(math.nan))")
    assert found.outcome == "pass", found.error


def test_singletons_keep_their_identity() -> None:
    tests = ("assert f(1) is None", "assert f(2) is True and f(3) is False", "assert f([None])[0] is None")
    code = "def f(x): return {1: None, 2: True, 3: False}.get(x) if type(x) is int else x"
    assert grade(code, *tests).outcome == "pass"


def test_a_value_of_a_subclass_travels_as_the_plain_one() -> None:
    code = (
        "from collections import *\nfrom enum import IntEnum\nP = namedtuple('P', 'x y')\n"
        "class E(IntEnum): A = 3\n"
        "def f(n): return [Counter('aab'), OrderedDict(a=1), P(1, 2), E.A, defaultdict(int, b=2)][n]"
    )
    tests = ("assert f(0) == {'a': 2, 'b': 1}", "assert f(1) == {'a': 1} and f(2) == (1, 2)")
    assert grade(code, *tests, "assert f(3) == 3", "assert f(4) == {'b': 2}").outcome == "pass"


def test_numbers_of_numpy_are_numbers_and_its_arrays_equal_nothing() -> None:
    pytest.importorskip("numpy")
    code = "import numpy as np\ndef f(x): return np.array(x) if x else np.int64(3) + np.float32(0.5)"
    assert grade(code, "assert f([]) == 3.5").outcome == "pass"
    assert grade(code, "assert f([1]) == [1]").outcome == "wrong"


CHANGES = [
    ("x.append(4)", "[1, 2]", "[1, 2, 4]"),
    ("x.sort()", "[3, 1]", "[1, 3]"),
    ("x[0].append(4)", "[[1], 2]", "[[1, 4], 2]"),
    ("x['b'] = x.pop('a')", "{'a': 1}", "{'b': 1}"),
    ("x['a'].add(4)", "{'a': {1}}", "{'a': {1, 4}}"),
    ("x.discard(1)", "{1, 2}", "{2}"),
    ("x[0].clear()", "([1],)", "([],)"),
    ("x.extend(b'y')", "bytearray(b'x')", "bytearray(b'xy')"),
]


@pytest.mark.parametrize(("change", "before", "after"), CHANGES)
def test_an_argument_that_the_program_changes_is_changed_for_the_tests(
    change: str, before: str, after: str
) -> None:
    test = f"x = y = {before}\nassert f(x) is None\nassert y == {after}, y"
    assert grade(f"def f(x): {change}", test).outcome == "pass"
    assert grade("def f(x): pass", test).outcome == "wrong"


def test_what_the_tests_hold_of_an_argument_is_changed_too() -> None:
    test = "inner = [1]\nf([inner, {'a': 3}])\nassert inner == [1, 2]"
    assert grade("def f(x): x[0].append(2)", test).outcome == "pass"


TREE = """
class Node:
    def __init__(self, data): self.data, self.left, self.right = data, None, None
    def total(self): return self.data + sum(one.total() for one in (self.left, self.right) if one)
def f(root): return root.total()
def twice(root): return [root, (root,)]
def numbers(n):
    for i in range(n): yield i
def raising(): raise ValueError('no such thing')
class Bag(list): pass
def bag(): return Bag('ab')
def same(n): return n
"""


@pytest.mark.parametrize(
    "test",
    [
        "root = Node(1)\nroot.left = Node(2)\nroot.left.right = Node(3)\nassert f(root) == 6",
        "root = Node(data=1)\nassert root.data == 1 and root.left is None and root.total() == 1",
        "root = Node(1)\ncopy, (other,) = twice(root)\nother.data = 5\nassert f(root) == f(copy) == 5",
        "assert list(numbers(3)) == [0, 1, 2] and [n for n in numbers(2)] == [0, 1] and next(numbers(9)) == 0",
        "assert bag() == ['a', 'b']",
        "assert callable(f) and f.__name__ == 'f'",
        "assert same(Node)(4).data == 4",
        "try:\n    raising()\nexcept ValueError as error: assert str(error) == 'no such thing'\nelse: assert 0",
        "assert bool(Node(1))",
    ],
)
def test_objects_of_the_program_are_used_where_they_are(test: str) -> None:
    found = grade(TREE, "assert f(Node(1)) == 1", test)
    assert found.outcome == "pass", found.error


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ("assert f(lambda x: x) == 1", "the test passes a function, which cannot be sent to the program"),
        ("assert f(object()) == 1", "the test passes a object, which cannot be sent"),
        ("assert f(iter([1])) == 1", "the test passes a list_iterator, which cannot be sent"),
    ],
)
def test_what_cannot_be_sent_is_told(test: str, error: str) -> None:
    found = grade("def f(x): return 1", test)
    assert (found.outcome, error in found.error) == ("wrong", True), found


# --- verdicts -----------------------------------------------------------------------------------------------

WRONG = [
    ("def f(x): return x", "wrong", "test 1 of 2: AssertionError"),
    ("def f(x): return x + 1 if x < 5 else 0", "wrong", "test 2 of 2: AssertionError: f of 7"),
    ("def g(x): return x + 1", "runtime_error", "test 1 of 2: NameError: the program does not define f"),
    ("def f(): return 2", "runtime_error", "test 1 of 2: TypeError: f() takes 0 positional arguments but"),
    ("def f(x): 1 / 0", "runtime_error", "test 1 of 2: ZeroDivisionError: division by zero"),
    ("def f(x): return None", "wrong", "test 1 of 2: AssertionError"),
    ("no program at all", "runtime_error", "SyntaxError: invalid syntax"),
    ("1 / 0\ndef f(x): return x + 1", "runtime_error", "ZeroDivisionError: division by zero"),
    ("while True: pass", "timeout", "of processor time"),
    ("def f(x):\n  while True: pass", "timeout", "of processor time"),
    ("import time\ndef f(x): time.sleep(60)", "timeout", "it slept or waited"),
    ("def f(x): return input()", "runtime_error", "EOFError"),
    ("def f(x): return [0] * 10**10", "memory", "MemoryError"),
    ("def f(x): return f(x)", "runtime_error", "RecursionError"),
    ("def f(x):\n  while True: print('x' * 10**6)", "runtime_error", "OSError: [Errno 27] File too large"),
    ("def f(x): return 'x' * (2 << 20)", "output_limit", "bytes in one value"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "outcome", "error"), WRONG)
def test_wrong_programs_fail_and_it_is_told_how(code: str, outcome: str, error: str) -> None:
    found = grade(code, "assert f(1) == 2", "assert f(7) == 8, 'f of 7'")
    assert (found.outcome, error in found.error) == (outcome, True), found


RIGHT = [
    "def f(x): return x + 1",
    "f = lambda x: x + 1",
    "print('example:', 1)\ndef f(x):\n    print(x)\n    return x + 1",
    "def f(x): return x + 1\nif __name__ == '__main__':\n    1 / 0",
    "def f(x): return x + 1\nassert f(1) == 2",
    "import threading\nthreading.Thread(target=print).start()\ndef f(x): return x + 1",
    "import sys\nsys.setrecursionlimit(10**6)\ndef f(x): return 1 if x == 0 else 1 + f(x - 1)",
    "from __future__ import annotations\ndef f(x: Unknown) -> Unknown: return x + 1",
    "seen = []\ndef f(x):\n    seen.append(x)\n    return x + 1",
]


@pytest.mark.parametrize("code", RIGHT)
def test_right_programs_pass(code: str) -> None:
    found = grade(code, "assert f(1) == 2", "for n in range(200):\n    assert f(n) == n + 1")
    assert found.outcome == "pass", found


def test_nothing_is_imported_for_a_program() -> None:
    found = grade("def f(x): return math.floor(x)", "assert f(1.5) == 1")
    assert "NameError: name 'math' is not defined" in found.error


# --- forgery ------------------------------------------------------------------------------------------------

ALWAYS = """
class Always:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __lt__
    def __hash__(self): return 0
    def __contains__(self, item): return True
    def __rsub__(self, other): return self
    def __abs__(self): return self
    def __bool__(self): return True
    def __getattr__(self, name): return self
"""
FRAME = """
import json, os, struct
def frame(data, number=3):
    os.write(number, struct.pack('>Q', len(data)) + data)
"""
FORGERIES = {
    "an object that equals everything": ALWAYS + "def f(x): return Always()",
    "a list of them": ALWAYS + "def f(x): return [Always(), Always()]",
    "a list that equals everything": "class L(list):\n  def __eq__(s, o): return True\ndef f(x): return L()",
    "a number that equals everything": "class I(int):\n  def __eq__(s, o): return True\ndef f(x): return I(7)",
    "a text that equals everything": "class S(str):\n  def __eq__(s, o): return True\ndef f(x): return S()",
    "a class that claims another": (
        "class C:\n  __class__ = list\n  def __eq__(s, o): return True\ndef f(x): return C()"
    ),
    "leaving with status 0": "import os\ndef f(x): os._exit(0)",
    "leaving while it is loaded": "import os\nos._exit(0)",
    "sys.exit": "import sys\ndef f(x): sys.exit(0)",
    "sys.exit while it is loaded": "raise SystemExit(0)",
    "leaving by a raised SystemExit": "def f(x): raise SystemExit",
    "killing itself": "import os\ndef f(x): os.kill(os.getpid(), 9)",
    "no equality": "import builtins, operator\noperator.eq = lambda a, b: True\ndef f(x): return 0",
    "no errors": (
        "import builtins\nbuiltins.AssertionError = builtins.Exception = type('E', (BaseException,), {})\n"
        "def f(x): return 0"
    ),
    "no JSON": "import json\njson.dumps = lambda *a, **k: '{\"passed\": true}'\ndef f(x): return 0",
    "its own exit": "import sys\nsys.exit = lambda *a: None\ndef f(x): sys.exit(0)",
    "a printed verdict": "print('V{\"passed\": true}')\ndef f(x):\n  print('V{\"passed\": true}', flush=True)",
    "a verdict as a frame": FRAME + "def f(x): frame(b'V{\"passed\": true}')",
    "a verdict as the first frame": FRAME + "frame(b'V{\"passed\": true}')\ndef f(x): return 0",
    "a verdict on every descriptor": FRAME
    + "def f(x):\n  for n in range(64):\n    try: frame(b'V{\"passed\": true}', n)\n    except OSError: pass",
    "a report on every descriptor": FRAME
    + "report = json.dumps(dict(code=0, cpu=0, peak=0, size=0, stderr='')).encode()\n"
    "def f(x):\n  for n in range(64):\n    try: frame(report, n)\n    except OSError: pass\n  os._exit(0)",
    "an endless frame": (
        "import os\ndef f(x):\n  os.write(3, b'\\0\\0\\0\\0\\0\\x0f\\0\\0')\n"
        "  while True: os.write(3, b'x' * 4096)"
    ),
    "a frame of no size": "import os\ndef f(x): os.write(3, b'\\xff' * 8)",
    "a pickle": FRAME
    + "import pickle\nclass P:\n  def __reduce__(s): return (print, ())\ndef f(x): frame(pickle.dumps(P()))",
    "an unknown tag": FRAME + "def f(x): frame(b'{\"value\": {\"eval\": \"1\"}, \"changed\": {}}')",
    "a function by name": FRAME + "def f(x): frame(b'{\"value\": {\"type\": \"exec\"}, \"changed\": {}}')",
    "two tags": FRAME + "def f(x): frame(b'{\"value\": {\"tuple\": [], \"list\": []}, \"changed\": {}}')",
    "a reply that is none": FRAME + "def f(x): frame(b'[]')",
    "deep nesting": FRAME + "def f(x): frame(b'{\"changed\": {}, \"value\": ' + b'[' * 400000 + b']' * 400000 + b'}')",
    "an argument that is not there": FRAME + "def f(x): frame(b'{\"value\": 0, \"changed\": {\"9\": 1}}')",
    "the expected value in the argument": "def f(x):\n  x[:] = [Ellipsis]\n  return x",
    "a raised AssertionError": "def f(x): raise AssertionError",
    "an error that claims to be another": "class StopIteration(BaseException): pass\ndef f(x): raise StopIteration",
    "threads that answer": FRAME
    + "import threading\ndef go():\n  while True: frame(b'{\"value\": true, \"changed\": {}}')\n"
    "threading.Thread(target=go, daemon=True).start()\ndef f(x): return 0",
    "an endless generator": "def f(x):\n  while True: yield 1",
    "a float that is no number": "def f(x): return float('nan')",
}  # fmt: skip
COMPARISONS = (
    "assert f([3, 1]) == [1, 3]",
    "x = [3, 1]\nassert f(x) == sorted([3, 1])",
    "assert abs(f([3, 1])[0] - 1) < 1e-6",
    "def check(candidate):\n    assert candidate([3, 1]) == [1, 3]\ncheck(f)",
    "assert not f([3, 1]) != [1, 3]",
    "assert [1, 3] == f([3, 1])",
    "assert f([3, 1]) in ([1, 3], [3, 1, 1])",
    "assert list(f([3, 1])) == [1, 3]",
)
ANY_OF_THEM = f"""
met = []
for text in {COMPARISONS!r}:
    try:
        exec(text, {{"f": f}})
        met.append(text)
    except Exception:
        pass
assert met, "none was met"
"""


def test_each_comparison_can_be_met() -> None:
    assert grade("def f(x): return sorted(x)", *COMPARISONS).outcome == "pass"


@pytest.mark.parametrize("code", FORGERIES.values(), ids=list(FORGERIES))
def test_no_program_forges_its_verdict(code: str) -> None:
    found = grade(code, ANY_OF_THEM)
    assert found.outcome not in ("pass", "sandbox_error"), found


SEARCH = """
import gc, os, re, sys
def f(given):
    texts = [repr([sys.argv, sys.orig_argv, dict(os.environ)])]
    for one in gc.get_objects():
        texts += map(repr, gc.get_referents(one))
    frame = sys._getframe()
    while frame:
        texts.append(repr(frame.f_locals) + repr(frame.f_globals))
        frame = frame.f_back
    return next(iter(re.findall("token-[0-9a-f]{32}", "".join(texts))), "nothing")
"""


def test_what_a_test_expects_is_nowhere_in_the_programs_sandbox() -> None:
    token = f"token-{secrets.token_hex(16)}"
    hidden = grade(
        SEARCH, f"assert f(1) == {token!r}", setup=f"also = {token!r}", solution=f"def f(x): return {token!r}"
    )
    assert (hidden.outcome, hidden.error) == ("wrong", "test 1 of 1: AssertionError")
    assert grade(SEARCH, f"assert f({token!r}) == {token!r}").outcome == "pass", "it finds what is there"


# --- the problem's own solution -----------------------------------------------------------------------------


def problem(*tests: str, **others: str) -> Problem:
    return Problem("p", "b", "code", "?", "", "code", tests=asserts(*tests, **others))


def outcomes(one: Problem, *replies: str) -> list[Grade]:
    async def all_of_them() -> list[Grade]:
        async with Graders(2, allow_code=True) as graders:
            found = await asyncio.gather(*(graders.grade(one, reply) for reply in replies))
            return [*found, await graders.refused(one, "too long")]

    return asyncio.run(all_of_them())


RIGHT_REPLY = "```python\ndef f(x): return x + 1\n```"


@pytest.mark.parametrize(
    ("tests", "solution", "error"),
    [
        ("assert f(1) == 3", "def f(x): return x + 1", "(wrong): test 1 of 1: AssertionError"),
        ("assert f(1) == 2", "def f(x): return y", "(runtime_error): test 1 of 1: NameError: name 'y'"),
        (
            "assert f(lambda: 1) == 2",
            "def f(x): return x() + 1",
            "the test passes a function, which cannot be",
        ),
        ("assert f(1) is f(1)", "def f(x, seen={}): return seen.setdefault(x, [])", "AssertionError"),
    ],
)
def test_a_problem_whose_own_solution_fails_leaves_as_a_whole(tests: str, solution: str, error: str) -> None:
    found = outcomes(problem(tests, solution=solution), RIGHT_REPLY, "no program", "```\n1 / 0\n```")
    assert [one.outcome for one in found] == ["unreadable_reference"] * 4
    assert all(error in one.error for one in found), found
    assert found[0].error.startswith("the problem's own solution does not pass its tests here (")


def test_a_solution_is_run_once_for_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    programs: list[Any] = []
    examined = dialogue.examined

    async def counted(*arguments: Any) -> Any:
        programs.append(arguments[3])
        return await examined(*arguments)

    monkeypatch.setattr("veridistill.grading.programs.examined", counted)
    solution = "def f(x): return 1 + x"
    found = outcomes(problem("assert f(1) == 2", solution=solution), RIGHT_REPLY, RIGHT_REPLY, "no program")
    assert [one.outcome for one in found] == ["pass", "pass", "no_answer", "refused"]
    assert programs.count([solution]) == 1
    assert len(programs) == 3


def test_a_solution_that_was_not_run_says_nothing_about_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = ["sandbox_error", "pass", "pass"]

    async def examined(*arguments: Any) -> Any:
        return dialogue.Finding(faults.pop(0), "too busy")

    monkeypatch.setattr("veridistill.grading.programs.examined", examined)
    one = problem("assert f(1) == 2", solution="def f(x): return 1 + x")

    async def twice() -> list[Grade]:
        async with Graders(1, allow_code=True) as graders:
            return [await graders.grade(one, RIGHT_REPLY) for _ in range(2)]

    first, second = asyncio.run(twice())
    assert (first.outcome, first.correct) == ("sandbox_error", None)
    assert "the problem's own solution was not run: too busy" in first.error
    assert second.outcome == "pass"


def test_a_body_in_the_reply_keeps_its_indent() -> None:
    prompt = 'from math import floor\n\ndef f(x):\n    """ Round down. """\n'
    one = problem("assert f(1.5) == 1", prompt=prompt, solution=prompt + "    return floor(x)")
    replies = ("    y = floor(x)\n    return y", "def f(x):\n    return floor(x)", "y = floor(x)\nreturn y")
    found = outcomes(one, *(f"So:\n```python\n{reply}\n```" for reply in replies))
    assert [grade.outcome for grade in found[:3]] == ["pass"] * 3, found


# --- the sandboxes ------------------------------------------------------------------------------------------


def test_both_ways_of_confinement_hold_a_conversation(way: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(*_: Any) -> Any:
        return Confinement("test", way, Interpreter.own(), "3.11", "")

    monkeypatch.setattr("veridistill.grading.programs.confinement", found)
    escape = "import os\ndef f(x):\n    try: os.fork()\n    except OSError: return 'refused'"
    assert grade(escape, "assert f(1) == 'refused'").outcome == "pass"
    assert grade("def f(x): return [x]", "assert f(1) == [1]").outcome == "pass"


def test_a_sandbox_that_is_lost_is_started_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, lost = list[int](), set[int]()
    conversation = dialogue._conversation

    async def losing(*arguments: Any) -> Any:
        begun.append(1)
        if len(begun) in lost:
            raise dialogue._Broken("gone")
        return await conversation(*arguments)

    monkeypatch.setattr(dialogue, "_conversation", losing)
    for num_lost, outcome in ((1, "pass"), (2, "runtime_error")):
        begun.clear()
        lost.update(range(1, num_lost + 1))
        found = grade("def f(x): return x", "assert f(1) == 1")
        assert (found.outcome, len(begun)) == (outcome, 2), found
    assert "the program broke its sandbox, twice (gone)" in found.error


def test_a_sandbox_that_does_not_start_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise OSError("no room")

    monkeypatch.setattr(dialogue, "_conversation", broken)
    found = grade("def f(x): return x", "assert f(1) == 1")
    assert (found.outcome, found.correct, "no room" in found.error) == ("sandbox_error", None, True)


def test_nothing_is_left_open(way: Backend) -> None:
    async def several() -> None:
        for _ in range(3):
            await dialogue.examined(
                held, LIMITS, 0, ["def f(x): return x"], dialogue.Asserts("f", ("assert f(1) == 2",))
            )

    held = Confinement("test", way, Interpreter.own(), "3.11", "")
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(several())
    assert len(os.listdir("/proc/self/fd")) == before
