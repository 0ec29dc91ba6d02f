"""The user's own problems, as JSONL: `id, kind, question`, and `answer`, `answer` with `choices`, or `tests`.

`options` are another name of choices. Tests are an object, or a list of asserts with the function's name as `entry`.
Optional are `domain` (math, science, code; by default that of the kind) and, for programs, `starter_code`. The whole
file is checked before anything is asked, and one error lists every fault.
"""

import json
from pathlib import Path
from typing import Any, cast, get_args

from veridistill.data import jsonl
from veridistill.data.jsonl import Faults, Row, shown
from veridistill.domains.options import LETTERS, with_options
from veridistill.errors import ConfigError
from veridistill.evaluation.benchmarks.question import with_starter
from veridistill.grading import asserts
from veridistill.grading.compare.comparison import KINDS
from veridistill.records import Domain, Kind, Problem, without_surrogates

_OPTIONS = ("choices", "options")
FIELDS = ("id", "kind", "question", "answer")
DOMAINS: dict[Kind, Domain] = {
    "integer": "math",
    "math": "math",
    "quantity": "science",
    "choice": "science",
    "exact": "science",
    "code": "code",
}
"""The domain of a problem that names none, which picks how the answer is asked for."""


def load(path: Path, limit: int | None = None, benchmark: str | None = None) -> list[Problem]:
    """The first `limit` problems of a file; `benchmark` defaults to the file's name without its suffix.

    The whole file is checked, whatever the limit. Raises one `ConfigError` with every fault and its line.
    """
    name = benchmark or path.stem
    problems: list[Problem] = []
    faults = Faults(path)
    first: dict[str, int] = {}
    for row in jsonl.read(path):
        problem, found = _parse(row, name)
        if problem is not None and problem.problem_id in first:
            found = [f"id {problem.problem_id!r} is already used in line {first[problem.problem_id]}"]
        for fault in found:
            faults.add(row.number, fault)
        if problem is not None:
            first.setdefault(problem.problem_id, row.number)
            problems.append(problem)
    faults.check()
    if not problems:
        raise ConfigError(f"{path}: holds no problems; give JSONL lines with {', '.join(FIELDS)}")
    return problems[:limit]


def _parse(row: Row, benchmark: str) -> tuple[Problem | None, list[str]]:
    """The problem of one line, or None and what is wrong with it."""
    if row.fault:
        return None, [row.fault]
    record = row.record
    wanted = FIELDS[:3] if record.get("kind") == "code" else FIELDS
    faults = [fault for field in wanted if (fault := _fault(record, field))]
    if not faults and record["kind"] not in DOMAINS:
        faults = [f"kind must be one of {', '.join(DOMAINS)}; found {record['kind']!r}"]
    if not faults and record.get("domain", "math") not in get_args(Domain):
        faults = [f"domain must be one of {', '.join(get_args(Domain))}; found {shown(record['domain'])}"]
    if faults:
        return None, faults
    try:
        return _problem(record, benchmark), []
    except _Fault as fault:
        return None, [str(fault)]


class _Fault(ValueError):
    """What is wrong with the fields of one kind."""


def _fault(record: dict[str, Any], field: str) -> str | None:
    """Ids and answers may be integers, which JSON writers make of them; everything else is text."""
    if field not in record:
        return f"{field} is missing"
    value = record[field]
    number = isinstance(value, int) and not isinstance(value, bool) and field in ("id", "answer")
    if not isinstance(value, str) and not number:
        return f"{field} must be text; found {type(value).__name__}"
    return f"{field} is empty" if isinstance(value, str) and not value.strip() else None


def _problem(record: dict[str, Any], benchmark: str) -> Problem:
    kind = cast("Kind", record["kind"])
    question, reference, tests = record["question"], str(record.get("answer", "")), ""
    options: tuple[str, ...] = ()
    if kind == "code":
        question = with_starter(question, _starter(record))
        reference, tests = "", _tests(record)
    elif kind == "choice" and (name := next((one for one in _OPTIONS if one in record), None)):
        options = _choices(name, record[name])
        reference = _letter(record["answer"], options)
        question = with_options(question, options)
    # A reference must be right when it is given as the answer.
    elif not KINDS[kind](reference, reference):
        raise _Fault(f"answer {record['answer']!r} is not a reference of kind {kind}")
    return Problem(
        problem_id=without_surrogates(str(record["id"])),
        benchmark=benchmark,
        kind=kind,
        question=without_surrogates(question),
        reference=without_surrogates(reference),
        domain=record.get("domain", DOMAINS[kind]),
        options=options,
        tests=tests,
    )


def _choices(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise _Fault(f"{name} must be a list of strings; found {shown(value)}")
    if not 2 <= len(value) <= len(LETTERS):
        raise _Fault(f"{name} must be 2 to {len(LETTERS)}; found {len(value)}")
    return tuple(without_surrogates(one) for one in value)


def _letter(answer: str | int, options: tuple[str, ...]) -> str:
    """The letter of the right option, which may be given as such, as the option's text or as an index from 0."""
    letters = LETTERS[: len(options)]
    if isinstance(answer, int):
        found = {letters[answer]} if 0 <= answer < len(options) else set()
    else:
        found = {letter for letter, option in zip(letters, options, strict=True) if option == answer}
        found |= {answer} & set(letters)
    if len(found) != 1:
        meaning = f"could be {' or '.join(sorted(found))}" if found else "is none of them"
        raise _Fault(
            f"answer must be the letter, text or index from 0 of one of choices; {answer!r} {meaning}"
        )
    return found.pop()


def _starter(record: dict[str, Any]) -> str:
    value = record.get("starter_code") or ""
    if not isinstance(value, str):
        raise _Fault(f"starter_code must be text; found {shown(value)}")
    return value


def _tests(record: dict[str, Any]) -> str:
    """The tests of a program, checked, as JSON text."""
    tests = record.get("tests")
    if isinstance(tests, list):
        tests = asserts.record_of(record)
    if not isinstance(tests, dict):
        raise _Fault(
            f"tests must be an object with kind and cases, or a list of asserts; found {shown(tests)}"
        )
    if tests.get("kind") == "asserts":
        if found := asserts.faults(tests):
            raise _Fault("; ".join(found))
        return json.dumps(tests)
    if tests.get("kind") not in ("stdin", "functional"):
        raise _Fault(f"tests.kind must be stdin, functional or asserts; found {shown(tests.get('kind'))}")
    entry = tests.get("entry")
    if tests["kind"] == "functional" and not (isinstance(entry, str) and entry.isidentifier()):
        raise _Fault(f"tests.entry must name the function to call; found {shown(entry)}")
    cases = tests.get("cases")
    if not isinstance(cases, list) or not cases:
        raise _Fault(f"tests.cases must be a non-empty list; found {shown(cases)}")
    for number, case in enumerate(cases, 1):
        if not isinstance(case, dict) or not all(
            isinstance(case.get(key), str) for key in ("input", "output")
        ):
            raise _Fault(
                f"tests.cases: case {number} must have input and output, both text; found {shown(case)}"
            )
    return json.dumps(tests)
