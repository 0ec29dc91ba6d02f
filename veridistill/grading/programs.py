"""Grading programs: each test runs in the sandbox, and what comes back is compared here by LiveCodeBench's rules.

Expected outputs never enter the sandbox, so a program that cheats there can only claim an output, which is to answer.
Tests that are Python run in a sandbox of their own (`dialogue`). Where the problem brings a solution, that is graded
first: tests that it does not pass say nothing about a model's programs. Reading the tests is left to `cases`,
containment to `sandbox`.
"""

import asyncio
import os
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Self

from veridistill.errors import ConfigError
from veridistill.grading.asserts import Asserts
from veridistill.grading.cases import Case, Cases, Decoded, decode_cases, from_json
from veridistill.grading.dialogue import ENDINGS, Finding, NotGraded, examined
from veridistill.grading.sandbox import Confinement, Interpreter, Limits, Run, confinement, opened
from veridistill.records import Grade, GradeOutcome, without_surrogates

__all__ = ["Case", "Cases", "Programs", "decode_cases", "same_output", "same_result"]

_MAX_ERROR = 500


class Programs:
    """Grades programs, up to `workers` at once (by default one per core), each in its own sandbox.

    `python` is the path of the interpreter that they run on, by default the one that runs veridistill. Entering attacks
    a sandbox once and raises `ConfigError`, with what to install, when none contains the job.
    """

    def __init__(
        self, workers: int | None = None, limits: Limits | None = None, python: str | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._python = python
        self._free: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        for worker in range(workers or len(os.sched_getaffinity(0))):
            self._free.put_nowait(worker)
        self._held: Confinement | None = None
        self._tests = Decoded()
        self._solutions: dict[str, asyncio.Task[Finding]] = {}

    @property
    def confinement(self) -> Confinement:
        """How programs are confined, and which Python and NumPy they see."""
        assert self._held is not None, "inside `async with`"
        return self._held

    async def __aenter__(self) -> Self:
        python = await Interpreter.at(self._python) if self._python else Interpreter.own()
        self._held = await confinement(python)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._solutions.values():
            task.cancel()
        await asyncio.gather(*self._solutions.values(), return_exceptions=True)
        self._held = None

    async def fault(self, tests: str) -> str:
        """Why a problem's tests cannot be read, or that its own solution fails them; empty otherwise.

        Raises `NotGraded`.
        """
        try:
            found = await self._tests.get(tests)
        except ConfigError as error:
            return str(error)
        if not (isinstance(found, Asserts) and found.solution):
            return ""
        if tests not in self._solutions:
            self._solutions[tests] = asyncio.create_task(self._solved(found))
        finding = await asyncio.shield(self._solutions[tests])
        if finding.outcome == "sandbox_error":
            self._solutions.pop(tests, None)
            raise NotGraded(f"the problem's own solution was not run: {finding.error}")
        if finding.outcome == "pass":
            return ""
        return f"the problem's own solution does not pass its tests here ({finding.outcome}): {finding.error}"

    async def _solved(self, tests: Asserts) -> Finding:
        worker = await self._free.get()
        try:
            return await examined(
                self.confinement, self._limits, worker, tests.program(tests.solution), tests
            )
        finally:
            self._free.put_nowait(worker)

    async def grade(self, code: str, tests: str) -> Grade:
        """The grade of a program: that of the first test it fails, or a pass. Cancelling ends its sandbox.

        A sandbox that does not start, or a test that a busy machine does not finish, is "sandbox_error" and not wrong.
        Raises `ConfigError` when the tests cannot be read.
        """
        code = without_surrogates(code)
        worker = await self._free.get()
        try:
            found = await self._tests.get(tests)
            if isinstance(found, Asserts):
                finding = await examined(self.confinement, self._limits, worker, found.program(code), found)
            else:
                finding = Finding(*await self._graded(worker, code, found))
        finally:
            self._free.put_nowait(worker)
        return Grade(finding.outcome, code, without_surrogates(finding.error)[-_MAX_ERROR:])

    async def _graded(self, worker: int, code: str, cases: Cases) -> tuple[GradeOutcome, str]:
        """A sandbox lost during a test is started once more from that test on; lost again there, it counts against the
        program: otherwise a program that breaks its sandbox would count as neither right nor wrong."""
        held, done, lost_at = self.confinement, 0, -1
        for _ in range(len(cases.cases) + 2):
            started = False
            try:
                async with opened(held.way, self._limits, worker, held.python) as sandbox:
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
        return "sandbox_error", "the sandbox was lost several times"


async def _judged(run: Run, case: Case, kind: str) -> tuple[GradeOutcome, str]:
    if run.ending != "exited":
        return ENDINGS[run.ending], run.error.strip() or run.ending
    if kind == "functional":
        if not run.output:
            return "runtime_error", "the program ended without a result"
        # Comparing large results takes long: the event loop must not wait.
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
