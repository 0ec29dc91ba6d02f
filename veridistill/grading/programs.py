"""Grading programs: each test runs in the sandbox, and what comes back is compared here by LiveCodeBench's rules.

Expected outputs never enter the sandbox, so a program that cheats there can only claim an output, which is to answer.
Reading the tests is `cases`', containment is `sandbox`'.
"""

import asyncio
import os
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Self

from veridistill.errors import ConfigError
from veridistill.grading.cases import Case, Cases, decode_cases, from_json
from veridistill.grading.sandbox import Backend, Limits, Run, backend, opened
from veridistill.records import Grade, GradeOutcome, without_surrogates

__all__ = ["Case", "Cases", "Programs", "decode_cases", "same_output", "same_result"]

_OUTCOMES: dict[str, GradeOutcome] = {
    "failed": "runtime_error",
    "timeout": "timeout",
    "memory": "memory",
    "output_limit": "output_limit",
}
_MAX_ERROR = 500


class Programs:
    """Grades programs, up to `workers` at once (by default one a core), each in a sandbox of its own.

    Entering attacks a sandbox once and raises `ConfigError`, with what to install, when none contains the job.
    """

    def __init__(self, workers: int | None = None, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._free: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        for worker in range(workers or len(os.sched_getaffinity(0))):
            self._free.put_nowait(worker)
        self._way: Backend | None = None

    async def __aenter__(self) -> Self:
        self._way = await backend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._way = None

    async def grade(self, code: str, tests: str) -> Grade:
        """The grade of a program: that of the first test it fails, or a pass. Cancelling ends its sandbox.

        Tests that cannot be read are "grader_error", a sandbox that does not start is "sandbox_error": neither is
        wrong.
        """
        assert self._way is not None, "grade() inside `async with`"
        code = without_surrogates(code)
        worker = await self._free.get()
        try:
            cases = await asyncio.to_thread(decode_cases, tests)
            outcome, error = await self._graded(self._way, worker, code, cases)
        except ConfigError as fault:
            outcome, error = "grader_error", str(fault)
        finally:
            self._free.put_nowait(worker)
        return Grade(outcome, code, without_surrogates(error)[-_MAX_ERROR:])

    async def _graded(self, way: Backend, worker: int, code: str, cases: Cases) -> tuple[GradeOutcome, str]:
        """A sandbox lost while a test ran is tried once more from that test on; lost again there, it is the program's
        doing: otherwise a program that breaks its sandbox would count as neither right nor wrong."""
        done, lost_at = 0, -1
        for _ in range(len(cases.cases) + 2):
            started = False
            try:
                async with opened(way, self._limits, worker) as sandbox:
                    await sandbox.load(code, cases.entry)
                    started = True
                    while done < len(cases.cases):
                        case = cases.cases[done]
                        outcome, error = await _judged(
                            await sandbox.run(case.input.encode()), case, cases.kind
                        )
                        done += 1
                        if outcome != "pass":
                            return outcome, f"test {done} of {len(cases.cases)}: {error}"
                    return "pass", ""
            except (OSError, EOFError, ValueError) as fault:
                if lost_at == done:
                    if started:
                        return (
                            "runtime_error",
                            f"test {done + 1}: the program broke its sandbox, twice ({fault})",
                        )
                    return "sandbox_error", f"the sandbox did not start: {fault or type(fault).__name__}"
                lost_at = done
        return "sandbox_error", "the sandbox was lost again and again"


async def _judged(run: Run, case: Case, kind: str) -> tuple[GradeOutcome, str]:
    if run.ending != "exited":
        return _OUTCOMES[run.ending], run.error.strip() or run.ending
    if kind == "functional":
        if not run.output:
            return "runtime_error", "the program ended without a result"
        # Large results take their time: the event loop goes on meanwhile.
        right = await asyncio.to_thread(same_result, run.output, case.output)
    else:
        right = await asyncio.to_thread(same_output, run.output.decode("utf-8", "replace"), case.output)
    return ("pass", "") if right else ("wrong", "the output differs")


def same_output(printed: str, expected: str) -> bool:
    """Whether a program printed what is expected: the same number of lines, and each the same.

    Lines are compared without the white space around them (around the whole, too), and, where their text differs,
    token by token as decimal numbers: "1.0 2" is "1 2.00", and "yes 1" is not "yes 1.0". LiveCodeBench's rules.
    """
    got, want = printed.strip().split("\n"), expected.strip().split("\n")
    return len(got) == len(want) and all(map(_same_line, got, want))


def _same_line(got: str, want: str) -> bool:
    if (got := got.strip()) == (want := want.strip()):
        return True
    left, right = got.split(), want.split()
    if len(left) != len(right):
        return False
    try:
        return all(Decimal(one) == Decimal(other) for one, other in zip(left, right, strict=True))
    except (InvalidOperation, ValueError):
        return False


def same_result(returned: bytes, expected: str) -> bool:
    """Whether JSON from a sandbox equals the expected JSON; as in LiveCodeBench by Python's equality: 1 is 1.0."""
    try:
        return bool(from_json(returned) == from_json(expected))
    except (ValueError, RecursionError, InvalidOperation):
        return False
