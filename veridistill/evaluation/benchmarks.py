"""Problems for an exam, from JSONL with `id, kind, question, answer`; validated whole before anything is
asked.

Nothing but evaluation reads these: a reference has no way into training.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from veridistill.errors import ConfigError
from veridistill.evaluation.grading import KINDS
from veridistill.records import Kind, Problem, without_surrogates

FIELDS = ("id", "kind", "question", "answer")
_MOST_ERRORS = 20


def load(path: Path, limit: int | None = None, benchmark: str | None = None) -> list[Problem]:
    """The first `limit` problems of a file; `benchmark` defaults to the file's name without its suffix.

    The whole file is checked, whatever the limit. Raises one `ConfigError` with every fault and its line.
    """
    name = benchmark or path.stem
    problems: list[Problem] = []
    faults: list[str] = []
    first: dict[str, int] = {}
    for number, line in _lines(path):
        problem, found = _problem(line, name)
        if problem is not None and problem.problem_id in first:
            found = [f"id {problem.problem_id!r} is used before, in line {first[problem.problem_id]}"]
        faults += (f"{path}:{number}: {fault}" for fault in found)
        if problem is not None:
            first.setdefault(problem.problem_id, number)
            problems.append(problem)
    if faults:
        more = [f"... and {len(faults) - _MOST_ERRORS} more"] if len(faults) > _MOST_ERRORS else []
        raise ConfigError("\n".join([*faults[:_MOST_ERRORS], *more]))
    if not problems:
        raise ConfigError(f"{path}: holds no problems; give JSONL lines with {', '.join(FIELDS)}")
    return problems[:limit]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers. Only a newline ends one: JSON text may hold U+2028."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a JSONL file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 (byte {error.start})") from None
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _problem(line: str, benchmark: str) -> tuple[Problem | None, list[str]]:
    """The problem of one line, or None and what is wrong with it."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, [f"is not JSON: {error}"]
    if not isinstance(record, dict):
        return None, [f"must be an object with {', '.join(FIELDS)}; found {type(record).__name__}"]
    faults = [fault for field in FIELDS if (fault := _fault(record, field))]
    if not faults and record["kind"] not in KINDS:
        faults.append(f"kind must be one of {', '.join(KINDS)}; found {record['kind']!r}")
    if not faults and not _readable(record):
        faults.append(f"answer {record['answer']!r} is no reference of kind {record['kind']}")
    if faults:
        return None, faults
    kind = cast("Kind", record["kind"])
    name, question, answer = (
        without_surrogates(str(record[field])) for field in ("id", "question", "answer")
    )
    return Problem(name, benchmark, kind, question, answer), []


def _fault(record: dict[str, Any], field: str) -> str | None:
    """Ids and answers may be integers, which JSON writers make of them; everything else is text."""
    if field not in record:
        return f"{field} is missing"
    value = record[field]
    number = isinstance(value, int) and not isinstance(value, bool) and field in ("id", "answer")
    if not isinstance(value, str) and not number:
        return f"{field} must be text; found {type(value).__name__}"
    return f"{field} is empty" if isinstance(value, str) and not value.strip() else None


def _readable(record: dict[str, Any]) -> bool:
    """A reference must be right when it is given as the answer."""
    reference = str(record["answer"])
    return KINDS[record["kind"]](reference, reference)
