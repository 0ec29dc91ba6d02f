"""Workers: late and dead ones are replaced, nothing hangs, nothing is left behind, no text becomes code."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from veridistill.grading import algebra, mathcheck, workers
from veridistill.grading.graders import Graders
from veridistill.grading.workers import Reply, Workers
from veridistill.records import Grade, Problem

R = TypeVar("R")
PROGRAM = """
import json, os, signal, sys, time
{start}
print(json.dumps({{"ready": True}}), flush=True)
for line in sys.stdin:
    (text,) = json.loads(line)
    if text == "sleep":
        time.sleep(1000)
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "prof":
        os.kill(os.getpid(), signal.SIGPROF)
    if text == "leave":
        os._exit(3)
    print(json.dumps({{"said": text, "pid": os.getpid()}}), flush=True)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program that does as it is told, to be found by the children."""
    (tmp_path / "told.py").write_text(PROGRAM.format(start=""))
    (tmp_path / "mute.py").write_text(PROGRAM.format(start="time.sleep(1000)"))
    (tmp_path / "broken.py").write_text(PROGRAM.format(start="sys.exit(7)"))
    (tmp_path / "unable.py").write_text('print(\'{"error": "no SymPy"}\')')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "told"


def using(pool: Callable[[], Workers], work: Callable[[Workers], Awaitable[R]]) -> R:
    """The result of work with a pool, after which no child of ours is left, not even a zombie."""

    async def with_pool() -> R:
        made = pool()
        try:
            return await work(made)
        finally:
            await made.close()

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    result = asyncio.run(with_pool())
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    return result


def test_a_worker_is_used_again(module: str) -> None:
    async def work(pool: Workers) -> list[Reply]:
        return [await pool.ask(("one",)), await pool.ask(("two",))]

    one, two = using(lambda: Workers(module, 2), work)
    assert (one.value["said"], two.value["said"]) == ("one", "two")
    assert one.value["pid"] == two.value["pid"] != os.getpid()


def test_no_more_than_num_run_at_once(module: str) -> None:
    async def work(pool: Workers) -> tuple[list[Reply], int]:
        return await asyncio.gather(*(pool.ask((str(n),)) for n in range(20))), pool.started

    replies, started = using(lambda: Workers(module, 2), work)
    assert [reply.value["said"] for reply in replies] == [str(n) for n in range(20)]
    assert started == 2


def test_one_that_gives_no_reply_is_killed_and_the_loop_goes_on(module: str) -> None:
    ticks = 0

    async def work(pool: Workers) -> list[Reply]:
        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        found = [await pool.ask(("sleep",)), await pool.ask(("after",))]
        ticking.cancel()
        return found

    late, after = using(lambda: Workers(module, 1, seconds=0.5), work)
    assert (late.failure, after.value["said"]) == ("stalled", "after")
    assert ticks > 10


def test_one_killed_from_outside_is_replaced_and_the_question_put_again(module: str) -> None:
    async def work(pool: Workers) -> tuple[Reply, Reply, int]:
        first = await pool.ask(("one",))
        os.kill(first.value["pid"], signal.SIGKILL)
        return first, await pool.ask(("two",)), pool.started

    first, second, started = using(lambda: Workers(module, 1), work)
    assert (second.value["said"], second.failure, started) == ("two", "", 2)
    assert second.value["pid"] != first.value["pid"]


@pytest.mark.parametrize(
    ("text", "failure", "detail", "started"),
    [
        ("die", "killed", "killed from outside", 2),
        ("leave", "died", "exit status 3", 2),
        ("prof", "late", "processor time", 1),
    ],
)
def test_a_question_that_kills_its_worker(
    module: str, text: str, failure: str, detail: str, started: int
) -> None:
    async def work(pool: Workers) -> tuple[Reply, int, Reply]:
        return await pool.ask((text,)), pool.started, await pool.ask(("after",))

    reply, count, after = using(lambda: Workers(module, 1), work)
    assert (reply.failure, detail in reply.detail, count) == (failure, True, started)
    assert after.value["said"] == "after"


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("mute", "not ready after 0.5 s"),
        ("broken", "ended with 7 before it was ready"),
        ("unable", "no SymPy"),
        ("absent", "ended with 1 before it was ready"),
    ],
)
def test_one_that_cannot_start(module: str, name: str, detail: str) -> None:
    reply = using(
        lambda: Workers(name, 1, start_seconds=0.5 if name == "mute" else 60), lambda p: p.ask(("x",))
    )
    assert (reply.failure, reply.detail) == ("unstartable", detail)


def test_cancelling_ends_the_worker(module: str) -> None:
    async def work(pool: Workers) -> str:
        asking = asyncio.create_task(pool.ask(("sleep",)))
        while not (children := psutil.Process().children()):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not any(child.is_running() and child.status() != "zombie" for child in children)
        return str((await pool.ask(("after",))).value["said"])

    assert using(lambda: Workers(module, 1), work) == "after"


def test_a_worker_ends_with_its_parent(module: str) -> None:
    """A parent killed outright leaves no worker behind: its standard input ends."""
    program = (
        "import asyncio, os\nfrom veridistill.grading.workers import Workers\n"
        "async def main():\n"
        "    print((await Workers('told', 1).ask(('x',))).value['pid'], flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    worker = int(done.stdout)
    assert done.returncode == -signal.SIGKILL
    psutil.wait_procs([psutil.Process(worker)] if psutil.pid_exists(worker) else [], timeout=20)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == "zombie"


# --- the program that compares mathematics ------------------------------------------------------------------


def test_a_worker_that_cannot_start_is_no_fault_of_the_answer(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grade = graded_by(monkeypatch, lambda num: Workers("broken", num))
    assert (grade.outcome, grade.correct) == ("grader_error", None)
    assert grade.error == "no worker to compare with: ended with 7 before it was ready"


@pytest.mark.parametrize(
    ("act", "outcome", "error"),
    [
        (
            "time.sleep(1000)",
            "grader_error",
            "no worker to compare with: no reply within 1 s: the machine is too busy",
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "grader_error",
            "no worker to compare with: its process was killed",
        ),
        (
            "os.kill(os.getpid(), signal.SIGPROF)",
            "wrong",
            "not compared: it took more than its limit of processor",
        ),
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "wrong",
            "not compared: the comparison ended its process (exit",
        ),
    ],
)
def test_only_the_processor_time_of_a_comparison_and_its_crash_count_against_the_answer(
    act: str, outcome: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that can read references, but does something else with an answer."""
    answer = 'if len(json.loads(line)) == 1: print(json.dumps({"readable": True}), flush=True)'
    (tmp_path / "acting.py").write_text(
        'import json, os, signal, sys, time\nprint(json.dumps({"ready": True}), flush=True)\n'
        f"for line in sys.stdin:\n    {answer}\n    else: {act}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    grade = graded_by(monkeypatch, lambda num: Workers("acting", num, seconds=1 if "sleep" in act else 60))
    assert (grade.outcome, grade.error[: len(error)]) == (outcome, error)


def graded_by(monkeypatch: pytest.MonkeyPatch, made: Callable[[int | None], Workers]) -> Grade:
    """An answer that takes algebra, graded with other workers."""
    monkeypatch.setattr(algebra, "Workers", lambda name, num: made(num))

    async def once() -> Grade:
        async with Graders(workers=1) as graders:
            return await graders.grade(Problem("p", "b", "math", "?", r"\sqrt2"), r"\boxed{\sqrt3}")

    return asyncio.run(once())


def in_a_process(*statements: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "\n".join(("import sys, os", "from veridistill.grading import mathcheck", *statements)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    ["eval('1+1')", "exec('x = 1')", "compile('1', '<x>', 'eval')", "os.system('true')", "open('written', 'w')",
     "__import__('subprocess').run(['true'])", "__import__('socket').socket().connect(('127.0.0.1', 9))",
     "__import__('sympy').sympify('1+x')"],
)  # fmt: skip
def test_no_text_becomes_code(statement: str) -> None:
    code = f"compile({statement!r}, 'file.py', 'exec')"
    said = in_a_process(
        "import sympy, subprocess, socket" if "sympy" in statement else "import subprocess, socket",
        f"code = {code}",
        "sys.addaudithook(mathcheck.refuse)",
        "try:",
        "    exec(code)",
        "except RuntimeError as error:",
        "    print(error)",
        "except Exception as error:",
        "    print('refused:', error)",
    )
    assert "this process" in said, said


def test_what_libraries_print_is_no_reply() -> None:
    """The protocol's descriptor is the program's own: standard output goes nowhere."""
    question = json.dumps((r"\sqrt{8}", r"2\sqrt2"))
    done = subprocess.run(
        [sys.executable, "-c", "from veridistill.grading import mathcheck as m\n"
         "old = m.compare\n"
         "def loud(a, r):\n    print('{\"same\": \"fake\"}', flush=True)\n    return old(a, r)\n"
         "m.compare = loud\nm.main()"],
        input=question + "\n", capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"ready": True}, {"same": True}]
    assert done.stderr == ""


def test_memory_is_limited_and_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(answer: str, reference: str) -> bool:
        raise MemoryError

    monkeypatch.setattr(mathcheck, "compare", greedy)
    assert mathcheck.replied("1", "2") == ({"error": "out of memory"}, False)
    said = in_a_process(
        "import resource",
        "resource.setrlimit(resource.RLIMIT_AS, (mathcheck.MEMORY, mathcheck.MEMORY))",
        "try:",
        "    bytearray(mathcheck.MEMORY)",
        "except MemoryError:",
        "    print('limited')",
    )
    assert said == "limited"


def test_the_kernel_ends_a_computation_that_no_signal_handler_could() -> None:
    """2^(2^(2^49)) is one call into C; the limit on processor time is the process's death."""

    async def work(pool: Workers) -> list[Reply]:
        return [await pool.ask(("2^{2^{2^{49}}}", "3")), await pool.ask((r"\sqrt{8}", r"2\sqrt2"))]

    hostile, after = using(lambda: Workers("veridistill.grading.mathcheck", 1, seconds=60), work)
    assert not hostile.value.get("same")
    assert hostile.failure in ("late", "")
    assert after.value == {"same": True}
    assert workers.SECONDS > mathcheck.CPU_SECONDS
