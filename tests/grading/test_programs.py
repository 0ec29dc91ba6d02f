"""Grading programs: what right ones may do, what wrong ones cannot, LiveCodeBench's comparison, and hostile tests."""

import asyncio
import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from veridistill.errors import ConfigError
from veridistill.grading import cases, programs
from veridistill.grading.graders import Graders
from veridistill.grading.programs import Case, Cases, Programs, decode_cases, same_output, same_result
from veridistill.grading.sandbox import Command, Confinement, Interpreter, Limits
from veridistill.records import Grade, Problem


def graded(jobs: list[tuple[str, str]], workers: int = 2) -> list[Grade]:
    async def all_of_them() -> list[Grade]:
        async with Programs(workers, Limits(cpu=3, idle=3)) as graders:
            return list(await asyncio.gather(*(graders.grade(*job) for job in jobs)))

    try:
        return asyncio.run(all_of_them())
    except ConfigError as error:
        pytest.skip(f"no sandbox works on this machine: {error}")


def own(*pairs: tuple[str, str], entry: str | None = None) -> str:
    given = [{"input": one, "output": other} for one, other in pairs]
    return json.dumps({"kind": "functional" if entry else "stdin", "entry": entry, "cases": given})


DOUBLE = own(("2\n", "4\n"), ("5", "10"))
READERS = [
    "print(int(input()) * 2)",
    "import sys\nprint(int(sys.stdin.readline()) * 2)",
    "import sys\nprint(int(sys.stdin.buffer.read()) * 2)",
    "print(int(open(0).read()) * 2)",
    "import os\nprint(int(os.read(0, 100)) * 2)",
    "print(int(open('/dev/stdin').read()) * 2)",
    "print(int(open('/dev/fd/0').read()) * 2)",
    "import mmap\nprint(int(mmap.mmap(0, 0, prot=mmap.PROT_READ).readline()) * 2)",
    "import os, io\nprint(int(io.BytesIO(os.read(0, os.fstat(0).st_size)).readline()) * 2)",
    "raise SystemExit(print(int(input()) * 2))",
    "print(int(input()) * 2)\nsys.stdout.close()",
    "from concurrent.futures import *\nwith ThreadPoolExecutor(8) as p: print(*p.map(lambda n: n * 2, [int(input())]))",
    "print(next(map(int, sys.stdin)) * 2)",
    "def main():\n    print(int(input()) * 2)\nif __name__ == '__main__':\n    main()",
    "print(int(input()) * 2)\nexit()",
    "print(int(input()) * 2)\nimport sys\nsys.exit(0)",
    "import os\nprint(int(input()) * 2, flush=True)\nos._exit(0)",
    "import threading\nthreading.Thread(target=lambda: print(int(input()) * 2)).start()",
    (
        'import sys, threading\nthreading.stack_size(2**27)\n'
        't = threading.Thread(target=lambda: print(int(input()) * 2))\nt.start()\nt.join()'
    ),
    "out = open(1, 'w')\nout.write(str(int(input()) * 2))",
    "import atexit\natexit.register(lambda: print(int(input()) * 2))",
    "import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint(int(input()) * 2)",
    (
        'import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else f(n - 1)\n'
        'print(int(input()) * 2 + f(100000))'
    ),
    (
        'from functools import lru_cache\nimport sys\nsys.setrecursionlimit(10**6)\n@lru_cache(None)\n'
        'def f(n): return 0 if n == 0 else f(n - 1)\nprint(int(input()) * 2 + f(50000))'
    ),
    (
        'import resource\n'
        'resource.setrlimit(resource.RLIMIT_STACK, resource.getrlimit(resource.RLIMIT_STACK))\n'
        'print(int(input()) * 2)'
    ),
    (
        'from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n'
        '    n: int\nprint(P(int(input())).n * 2)'
    ),
    "import asyncio\nasync def main(): print(int(input()) * 2)\nasyncio.run(main())",
    "n = int(input())\nheap = [n]\nheapify(heap)\nprint(pow(2, 1, 5) * heappop(heap), end='')",
    "import decimal, fractions, bisect, string, operator, random, re, statistics\nprint(f'{int(input()) * 2}.0')",
    "x = [0] * 10**7\nprint(int(input()) * 2)",
]  # fmt: skip
CHEATS = [
    ("print(4)", "wrong"),
    ("", "wrong"),
    ("print('pass'); print('{\"code\": 0, \"outcome\": \"pass\"}')", "wrong"),
    ("import sys\nsys.exit(0)\nprint(int(input()) * 2)", "wrong"),
    ("import os\nos._exit(0)", "wrong"),
    ("import os\nos.closerange(0, 100)", "wrong"),
    ("import os\nprint(int(input()) * 2, flush=True)\nos._exit(1)", "runtime_error"),
    ("print(int(input()) * 2)\n1 / 0", "runtime_error"),
    ("import os\nos.kill(os.getpid(), 9)", "runtime_error"),
    (
        'import sys\nf = sys._getframe()\nwhile f:\n  for v in list(f.f_locals.values()):\n'
        "    if 'output' in str(v)[:99]: print(v)\n  f = f.f_back",
        'wrong',
    ),
    (
        'import gc\nfor o in gc.get_objects():\n'
        "  if type(o) is dict and 'output' in o and 'input' in o: print(o['output'])",
        'wrong',
    ),
    ("import os\nfor d in range(3, 300):\n  try: os.write(d, b'\\0' * 7 + b'\\2{}')\n  except OSError: pass", "wrong"),
    ("while True: pass", "timeout"),
    ("x = [0] * 10**9", "memory"),
    ("while True: print('x' * 10**6)", "output_limit"),
    ("print('\\ud800')", "runtime_error"),
    ("not python \ud800", "runtime_error"),
]  # fmt: skip


def test_right_programs_pass_however_they_read_and_end() -> None:
    found = graded([(code, DOUBLE) for code in READERS])
    assert [(code, g.error) for code, g in zip(READERS, found, strict=True) if not g.correct] == []


def test_wrong_programs_do_not_pass_whatever_they_try() -> None:
    found = graded([(code, DOUBLE) for code, _ in CHEATS])
    assert [g.outcome for g in found] == [outcome for _, outcome in CHEATS], found


FUNCTIONS = [
    ("class Solution:\n    def f(self, a: List[int], k: int) -> Optional[int]:\n        return a[k]", "pass"),
    ("def f(a, k): return a[k]", "pass"),
    ("def f(a, k): return float(a[k])", "pass"),
    ("def f(a, k): return (a[k],)", "wrong"),
    ("def f(a, k): print(a[k])", "wrong"),
    ("def f(a, k): return str(a[k])", "wrong"),
    ("class E:\n  def __eq__(s, o): return True\ndef f(a, k): return E()", "runtime_error"),
    ("import os\ndef f(a, k): os._exit(0)", "runtime_error"),
    ("import sys\ndef f(a, k): sys.exit(0)", "runtime_error"),
    ("import os\ndef f(a, k):\n    os.write(3, b'[')\n    os._exit(0)", "wrong"),
    ("import os\ndef f(a, k):\n    os.write(3, b'[' * 10**6)\n    os._exit(0)", "wrong"),
    ("def f(a, k): return 'x' * (17 << 20)", "output_limit"),
    ("def f(a, k):\n  while True: pass", "timeout"),
]


def test_functions_are_called_and_their_results_compared() -> None:
    tests = own(("[1, 2, 3]\n1", "2"), ("[5]\n0", "5"), entry="f")
    found = graded([(code, tests) for code, _ in FUNCTIONS])
    assert [g.outcome for g in found] == [outcome for _, outcome in FUNCTIONS], found


PREAMBLE = [
    ("print(maxsize > 2**60, intern('a'), argv)", "True a ['program.py']"),
    ("print(stdin.readline().strip())\nstdout.write('to')\nstderr.write('lost')", "given\nto"),
    ("print(datetime.date(2025, 1, 1), time(1).hour, random.Random(0) is not None)", "2025-01-01 1 True"),
    ("print(List, Counter('aab').most_common(1), inf, reduce(add, [1, 2]))", "typing.List [('a', 2)] inf 3"),
    ("print(pow(2, 3, 5), sum([1]), open is not io.open)", "3 1 True"),
    ("print([typing])", None),
    ("print(time.time())", None),
]


@pytest.mark.parametrize(("code", "printed"), PREAMBLE)
def test_programs_start_with_the_names_that_livecodebench_gives_them(code: str, printed: str | None) -> None:
    (found,) = graded([(code, own(("given\n", printed or "")))])
    assert found.outcome == ("pass" if printed else "runtime_error"), found


def test_grading_stops_at_the_first_failure_and_says_where() -> None:
    (found,) = graded(
        [("n = int(input())\nprint(n if n < 3 else 1 // 0)", own(("1", "1"), ("3", "3"), ("9", "0")))]
    )
    assert found.outcome == "runtime_error"
    assert found.error.startswith("test 2 of 3: ")
    assert found.error.endswith("ZeroDivisionError: integer division or modulo by zero")


SERVERS = [
    ("exit 1", "sandbox_error", None),
    # It answers "ready", takes the test and is gone: twice at the same test, so that is the program's doing.
    (r"printf '\0\0\0\0\0\0\0\5ready'; head -c 45 > /dev/null", "runtime_error", False),
    (
        r"printf '\0\0\0\0\0\0\0\5ready\0\0\0\0\0\0\0\2{}\0\0\0\0\0\0\0\2{}'; head -c 45",
        "runtime_error",
        False,
    ),
    (r"printf '\377\0\0\0\0\0\0\0'", "sandbox_error", None),
]


@pytest.mark.parametrize(("script", "outcome", "correct"), SERVERS)
def test_a_server_that_fails_is_ours_and_one_that_a_program_breaks_is_the_programs(
    script: str, outcome: str, correct: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def way(python: Interpreter, limits: Limits, worker: int) -> Command:
        return Command(("/bin/sh", "-c", script), {"PATH": "/usr/bin:/bin"})

    async def found(python: Interpreter) -> Confinement:
        return Confinement("test", way, python, "3.11", "")

    monkeypatch.setattr(programs, "confinement", found)
    (grade,) = graded([("print(1)", DOUBLE)])
    assert (grade.outcome, grade.correct) == (outcome, correct), grade


def test_a_problem_whose_tests_cannot_be_read_leaves_as_a_whole() -> None:
    unreadable = Problem("p", "b", "code", "?", "", "code", tests="{}")

    async def found() -> list[Grade]:
        async with Graders(1, allow_code=True) as graders:
            given = [
                await graders.grade(unreadable, one) for one in ("```python\nprint(1)\n```", "no program")
            ]
            return [*given, await graders.refused(unreadable)]

    for grade in asyncio.run(found()):
        assert (grade.outcome, "not valid tests of a program" in grade.error) == (
            "unreadable_reference",
            True,
        ), grade


def test_the_tests_of_a_problem_are_decoded_once_for_all_of_its_samples() -> None:
    async def decoded() -> tuple[list[str], int]:
        async with Programs(2) as graders:
            grades = await asyncio.gather(*(graders.grade(code, DOUBLE) for code in READERS[:6]))
            return [grade.outcome for grade in grades], graders._tests.num_decoded

    assert asyncio.run(decoded()) == (["pass"] * 6, 1)


def test_decoded_tests_are_kept_within_bounds() -> None:
    problems = [own((str(n), "x" * 100)) for n in range(4)]

    async def kept() -> tuple[list[int], int]:
        store, sizes = cases.Decoded(most=250), []
        for tests in (*problems, problems[3], problems[2], problems[0]):
            await store.get(tests)
            sizes.append(sum(one.size for one in store._kept.values()))
        for _ in range(2):
            with pytest.raises(ConfigError):
                await store.get("{}")
        return sizes, store.num_decoded

    sizes, decoded = asyncio.run(kept())
    assert max(sizes) <= 250
    assert decoded == 4 + 1 + 1, (
        "the last two were kept, the first was not; what cannot be read is remembered"
    )


def test_tests_larger_than_all_that_is_kept_are_decoded_once_too() -> None:
    async def decoded() -> int:
        store = cases.Decoded(most=10)
        for _ in range(3):
            await store.get(DOUBLE * 1)
        return store.num_decoded

    assert asyncio.run(decoded()) == 1


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("1 2\n3\n", "1 2\n3", True),
        ("  1 2  \n 3 \n\n", "1 2\n3", True),
        ("1.0 2", "1 2.00", True),
        ("1e3", "1000", True),
        ("1  2", "1 2", True),
        ("a  b", "a b", False),
        ("yes 1.0", "yes 1", False),
        ("1\n\n2", "1\n2", False),
        ("1 2", "1\n2", False),
        ("1 2 3", "1 2", False),
        ("", "1", False),
        ("", "", True),
        ("YES", "Yes", False),
        ("0.1", "0.10000000001", False),
        ("nan", "NaN", False),
        ("sNaN", "1", False),
        ("1e999999999999999999999", "1", False),
        ("9" * 5000, "9" * 5000, True),
        ("9" * 5000 + ".0", "9" * 5000, True),
    ],
)
def test_output_is_compared_by_lines_then_by_numbers(printed: str, expected: str, same: bool) -> None:
    assert same_output(printed, expected) is same


@pytest.mark.parametrize(
    ("returned", "expected", "same"),
    [
        ("1", "1.0", True),
        ("[1, [2]]", "[1,[2]]", True),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ("[1]", "1", False),
        ('"1"', "1", False),
        ("null", "0", False),
        ("NaN", "NaN", False),
        ("1" * 5000, "1" * 5000, True),
        ("1" * 5000, "1" * 4999 + "2", False),
        ("[" * 100000, "1", False),
        ("[1] trailing", "[1]", False),
    ],
)
def test_results_are_compared_as_json(returned: str, expected: str, same: bool) -> None:
    assert same_result(returned.encode(), expected) is same


def record(private: str, testtype: str = "stdin", name: str | None = None) -> dict[str, Any]:
    public = [{"input": "1", "output": "2", "testtype": testtype}]
    metadata = json.dumps({"func_name": name} if name else {})
    return {"public_test_cases": json.dumps(public), "private_test_cases": private, "metadata": metadata}


def written(path: Path, found: dict[str, Any]) -> str:
    line, before = json.dumps(found).encode(), b'{"question_id": "before"}\n'
    path.write_bytes(before + line + b"\n")
    return f"@{path}:{len(before)}:{len(line)}"


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_private_cases_of_livecodebench_are_read_without_unpickling(tmp_path: Path, protocol: int) -> None:
    text = json.dumps([{"input": "3", "output": "ä 4", "testtype": "stdin"}], ensure_ascii=False)
    found = decode_cases(written(tmp_path / "a:b.jsonl", record(packed(pickle.dumps(text, protocol)))))
    assert found == Cases("stdin", None, (Case("1", "2"), Case("3", "ä 4")))


def test_private_tests_alone_are_those_of_the_record(tmp_path: Path) -> None:
    text = json.dumps([{"input": "3", "output": "4", "testtype": "stdin"}])
    place = written(tmp_path / "t.jsonl", record(text)).removeprefix("@")
    assert decode_cases(f"@{place}").cases == (Case("1", "2"), Case("3", "4"))
    assert decode_cases(f"@private:{place}").cases == (Case("3", "4"),)


def test_private_cases_may_be_json_and_functional(tmp_path: Path) -> None:
    text = json.dumps([{"input": '[1]\n"x"', "output": "[2]", "testtype": "functional"}])
    found = decode_cases(written(tmp_path / "t.jsonl", record(text, "functional", "solve")))
    assert found == Cases("functional", "solve", (Case("1", "2"), Case('[1]\n"x"', "[2]")))


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("open('/tmp/veridistill-hostile', 'w')",)


PICKLES = [
    pickle.dumps(Hostile()),
    pickle.dumps(["[]"]),
    pickle.dumps({"a": "[]"}),
    pickle.dumps(7),
    b"cos\nsystem\n(S'true'\ntR.",
    b"\x80\x04r\xff\xff\xff\xff.",
    b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f[].",
    b"\x80\x04Ptest\n.",
    b"",
    b"garbage",
]


@pytest.mark.parametrize("data", PICKLES)
def test_hostile_pickles_are_refused_and_do_nothing(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigError, match="not valid tests of a program"):
        decode_cases(written(tmp_path / "t.jsonl", record(packed(data))))
    assert not Path("/tmp/veridistill-hostile").exists()


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "MAX_BYTES", 1 << 20)
    bomb = packed(pickle.dumps("[" + " " * (1 << 20) + "]"))
    with pytest.raises(ConfigError, match="more than 1048576 bytes"):
        decode_cases(written(tmp_path / "t.jsonl", record(bomb)))
    with pytest.raises(ConfigError, match="at most 1048576"):
        decode_cases("@file:0:1048577")


@pytest.mark.parametrize(
    "tests",
    [
        "",
        "{}",
        "[]",
        "@",
        "@nowhere",
        "@/nonexistent:0:10",
        "@/etc/passwd:0:-1",
        own(),
        json.dumps({"kind": "other", "cases": [{"input": "", "output": ""}]}),
        json.dumps({"kind": "stdin", "cases": [{"input": 1, "output": ""}]}),
        json.dumps({"kind": "stdin", "cases": [{"input": "1"}]}),
        json.dumps({"kind": "functional", "cases": [{"input": "1", "output": "1"}]}),
        own(("1", "1"), entry="a.b"),
        own(("x", "1"), entry="f"),
        own(("1", "x"), entry="f"),
        '{"kind": "stdin", "cases": [{"input": "\\ud800", "output": ""}]}',
        "[" * 100000,
    ],
)
def test_tests_that_are_not_as_they_should_be_are_refused(tests: str) -> None:
    with pytest.raises(ConfigError, match="not valid tests of a program"):
        decode_cases(tests)
