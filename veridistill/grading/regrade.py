"""Grades existing responses again, without a model: JSONL lines, or a table of attempts and its problems.

Results come in the order of the input, a window of them graded at once, so memory does not grow with the file. Grading
one response is left to `graders`.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from veridistill.data import jsonl, tables
from veridistill.errors import ConfigError
from veridistill.grading import asserts
from veridistill.grading.graders import Graders, attempt
from veridistill.records import Attempt, Completion, Grade, Kind, Problem, without_surrogates

T = TypeVar("T")
R = TypeVar("R")
PROBLEMS = "problems.parquet"
WINDOW = 256
"""Responses graded at once."""


async def regrade(path: Path, graders: Graders) -> AsyncGenerator[dict[str, Any], None]:
    """What `veridistill grade FILE` prints: a line for each response of a Parquet or JSONL file, in order.

    `{id, outcome, answer, error}`, and for a table `benchmark` and `index` too. Raises `ConfigError` for a file that
    cannot be read, and where `graders` may not run the programs it holds.
    """
    if path.suffix == ".parquet":
        async with aclosing(regrade_table(path, graders)) as attempts:
            async for made in attempts:
                yield {
                    "id": made.problem_id,
                    "benchmark": made.benchmark,
                    "index": made.index,
                    "outcome": made.outcome,
                    "answer": made.answer,
                    "error": made.error,
                }
        return
    async with aclosing(regrade_rows(jsonl.read(path), graders)) as lines:
        async for line in lines:
            yield line


async def regrade_rows(rows: Iterable[jsonl.Row], graders: Graders) -> AsyncGenerator[dict[str, Any], None]:
    """`{id, outcome, answer, error}` for each row, in order.

    A line that cannot be used is a `grader_error`, whose error says which line, what is wrong and what to do; it ends
    nothing. Lines of kind code need `graders` that may run programs: else `ConfigError`.
    """

    async def graded(row: jsonl.Row) -> dict[str, Any]:
        found: dict[str, Any] = {"id": row.record.get("id")}
        try:
            if row.fault:
                raise _Fault(row.fault)
            problem, response = _problem(row.record)
        except _Fault as fault:
            error = f"line {row.number}: {fault}"
            return found | {"outcome": "grader_error", "answer": None, "error": error}
        grade = await graders.grade(problem, response)
        return found | {"outcome": grade.outcome, "answer": grade.answer, "error": grade.error}

    async with aclosing(_in_order(rows, graded)) as results:
        async for result in results:
            yield result


async def regrade_table(path: Path, graders: Graders) -> AsyncGenerator[Attempt, None]:
    """The attempts of a table, graded again by the problems in `problems.parquet` beside it, in order.

    What the engine refused stays refused. Raises `ConfigError` for tables that are missing or do not belong together.
    """
    beside = path.with_name(PROBLEMS)
    if not beside.is_file():
        raise ConfigError(f"{beside}: not found; put the table of the problems beside that of the attempts")
    problems = {(p.benchmark, p.problem_id): p for p in tables.PROBLEMS.read(beside)}
    await graders.prepare(list(problems.values()))

    async def graded(old: Attempt) -> Attempt:
        problem = problems.get((old.benchmark, old.problem_id))
        if problem is None:
            raise ConfigError(
                f"{beside}: lacks {old.benchmark}/{old.problem_id}, to which {path.name} has an answer"
            )
        reply = Completion(old.response, old.finish_reason, 0, old.completion_tokens)
        refused = old.finish_reason == "refused"
        grade: Grade = await (
            graders.refused(problem, old.error) if refused else graders.grade(problem, old.response)
        )
        return attempt(problem, old.index, reply, grade)

    async with aclosing(_in_order(tables.ATTEMPTS.read(path), graded)) as results:
        async for result in results:
            yield result


async def _in_order(items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> AsyncGenerator[R, None]:
    """Results in the order of the items, `WINDOW` of them in work."""

    async def one(item: T) -> R:
        return await work(item)

    open_ones: deque[asyncio.Task[R]] = deque()
    try:
        for item in items:
            if len(open_ones) >= WINDOW:
                yield await open_ones.popleft()
            open_ones.append(asyncio.create_task(one(item)))
        while open_ones:
            yield await open_ones.popleft()
    finally:
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


class _Fault(ValueError):
    """What is wrong with a line, and what to do."""


def _problem(record: dict[str, Any]) -> tuple[Problem, str]:
    """The problem of a line and the response to it. Raises `_Fault`."""
    kinds = get_args(Kind)
    if record.get("kind") not in kinds:
        raise _Fault(f"kind must be one of {', '.join(kinds)}; found {jsonl.shown(record.get('kind'))}")
    kind = cast("Kind", record["kind"])
    if "id" not in record:
        raise _Fault("id is missing; give each response its own id")
    response = record.get("response")
    if not isinstance(response, str):
        raise _Fault(f"response must be the text of a reply; found {jsonl.shown(response)}")
    options = record.get("options", record.get("choices", []))
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise _Fault(f"options must be a list of strings, in the order shown; found {jsonl.shown(options)}")
    reference = tests = ""
    if kind == "code":
        tests = _tests(record)
    else:
        reference = _reference(record.get("reference", record.get("answer")))
    name = str(record["id"])
    return Problem(
        name, "a line of kind code", kind, "", reference, options=tuple(options), tests=tests
    ), without_surrogates(response)


def _tests(record: dict[str, Any]) -> str:
    """Tests as JSON text. A bare list is one of cases with standard input, or of asserts; what is in them is `cases`'
    to judge.
    """
    value = record.get("tests")
    if isinstance(value, list) and value:
        python = isinstance(value[0], str)
        value = asserts.record_of(record) if python else {"kind": "stdin", "cases": value}
    if not isinstance(value, str | dict) or not value:
        raise _Fault(
            f"tests must be an object with kind and cases, or a list of asserts; found {jsonl.shown(value)}"
        )
    return value if isinstance(value, str) else json.dumps(value)


def _reference(value: Any) -> str:
    """A number is accepted, since JSON writers may turn digits into a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise _Fault(f"reference must be the right answer, as text; found {jsonl.shown(value)}")
    return value
