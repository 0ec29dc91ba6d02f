"""Answers of the programs world: a worked example and the program, how they are written and read again."""

import re
from dataclasses import dataclass

from veridistill.lab.worlds.programs.operations import (
    Operation,
    Value,
    compact,
    of_line,
    of_shown,
    shown,
    states,
)
from veridistill.lab.worlds.programs.questions import Program
from veridistill.lab.worlds.replies import think

_ANSWER = re.compile(
    r"f\((?P<given>\[[0-9,]*\])\)==(?P<claimed>\S+)\n```python\ndef f\(v\)(?P<colon>:?)\n"
    r"(?P<lines>(?: v=.*\n)*)(?: return (?P<returned>\w+)\n)?```"
)


@dataclass(frozen=True)
class Stated:
    """What an answer says: the example that it claims, and its program. `colon` and `returned` are "" where missing."""

    given: tuple[int, ...]
    claimed: Value
    operations: tuple[Operation, ...]
    colon: str = ":"
    returned: str = "v"

    @property
    def text(self) -> str:
        lines = "".join(f" v={operation.line}\n" for operation in self.operations)
        returned = f" return {self.returned}\n" if self.returned else ""
        claim = f"f({shown(self.given)})=={shown(self.claimed)}"
        return f"{claim}\n```python\ndef f(v){self.colon}\n{lines}{returned}```"


def read(text: str) -> Stated | None:
    """What an answer of this form says; None for any other text."""
    found = _ANSWER.fullmatch(text)
    if found is None:
        return None
    given, claimed = of_shown(found["given"]), of_shown(found["claimed"])
    operations = [of_line(line.removeprefix(" v=")) for line in found["lines"].splitlines()]
    known = tuple(operation for operation in operations if operation is not None)
    if not isinstance(given, tuple) or claimed is None or len(known) < len(operations):
        return None
    return Stated(given, claimed, known, found["colon"], found["returned"] or "")


def answer(q: Program) -> str:
    return Stated(q.given, q.wanted, q.operations).text


def solution(q: Program) -> str:
    """The example, operation by operation; a digit that is left open follows from the last two states."""
    work = trace(q.operations[:-1], q.given) if q.hidden else trace(q.operations, q.given)
    assert work is not None, "a program of the world runs on its example"
    if q.hidden:
        last = q.operations[-1]
        work += f" {last.name} {compact(q.wanted)}:{last.k}"
    return think(work + "\n", answer(q))


def trace(operations: tuple[Operation, ...], given: tuple[int, ...]) -> str | None:
    """`3154 rev 4513 drop2 13`: the value, then each operation and the value after it; None where one fails."""
    found = states(operations, given)
    if found is None:
        return None
    parts = [f" {one.short} {compact(value)}" for one, value in zip(operations, found, strict=True)]
    return compact(given) + "".join(parts)
