"""A program and its tests in two sandboxes: calls are passed between them until the tests give a verdict.

The tests and what they expect are never in the program's sandbox. What the program writes is an answer to a call, which
the tests' process reads as plain values, and never a verdict.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from veridistill.grading.asserts import Asserts
from veridistill.grading.sandbox import Confinement, Limits, Run
from veridistill.grading.sandbox.conversing import Conversing, conversing
from veridistill.records import GradeOutcome

__all__ = ["ENDINGS", "Finding", "NotGraded", "examined"]

ENDINGS: dict[str, GradeOutcome] = {
    "failed": "runtime_error",
    "timeout": "timeout",
    "memory": "memory",
    "output_limit": "output_limit",
    "unfinished": "sandbox_error",
}
"""The outcome of a program whose run ended otherwise than by itself."""
_APART = 256
"""Between the numbers of the two sandboxes: each has a user id of its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    outcome: GradeOutcome
    error: str = ""


class NotGraded(Exception):
    """The problem's own solution could not be run, through no fault of the problem; the message says why."""


class _Broken(Exception):
    """A sandbox was lost in the middle; the message says how."""


async def examined(
    held: Confinement, limits: Limits, worker: int, program: Sequence[str], tests: Asserts
) -> Finding:
    """What becomes of a program, given as texts to be run in turn. Never raises for what a program does.

    A sandbox that is lost is started once more; lost again in the middle, it counts against the program.
    """
    fault: Exception = OSError()
    for _ in range(2):
        try:
            async with AsyncExitStack() as stack:
                program_side, tests_side = [
                    await stack.enter_async_context(conversing(held.way, limits, number, held.python))
                    for number in (worker, worker + _APART)
                ]
                return await _conversation(program_side, tests_side, program, tests)
        except (OSError, EOFError, ValueError, _Broken) as error:
            fault = error
    if isinstance(fault, _Broken):
        return Finding("runtime_error", f"the program broke its sandbox, twice ({fault})")
    return Finding("sandbox_error", f"the sandbox did not start: {fault or type(fault).__name__}")


async def _conversation(
    program_side: Conversing, tests_side: Conversing, program: Sequence[str], tests: Asserts
) -> Finding:
    work = {"names": sorted(tests.stand_ins()), "before": tests.steps(), "tests": tests.tests}
    await asyncio.gather(
        program_side.start(program), tests_side.start((), json.dumps(work).encode("utf-8", "surrogatepass"))
    )
    try:
        loaded = await program_side.receive()
        if isinstance(loaded, Run):
            return _ended(loaded, "the program ended while it was loaded")
        while True:
            said = await tests_side.receive()
            if isinstance(said, Run):
                return _ended(said, "the tests ended without a verdict")
            if not said.startswith(b"C"):
                return _verdict(json.loads(said[1:]), len(tests.tests))
            program_side.send(said[1:])
            answer = await program_side.receive()
            if isinstance(answer, Run):
                return _ended(answer, "the program ended before it had answered a call")
            tests_side.send(answer)
    except (OSError, EOFError, ValueError) as error:
        raise _Broken(str(error) or type(error).__name__) from error


def _ended(run: Run, why: str) -> Finding:
    if run.ending == "exited":
        return Finding("runtime_error", why)
    return Finding(ENDINGS[run.ending], run.error.strip() or f"{why}: {run.ending}")


def _verdict(said: dict[str, object], num_tests: int) -> Finding:
    if said["passed"]:
        return Finding("pass")
    where = f"test {said['test']} of {num_tests}" if said["test"] else "before the first test"
    outcome: GradeOutcome = "runtime_error" if said["by"] == "program" else "wrong"
    return Finding(outcome, f"{where}: {said['error']}")
