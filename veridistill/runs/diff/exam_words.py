"""The sections of a comparison about exams: what both took, the difference, problems won and lost. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from veridistill.report.values import NONE, Table, count, decimal
from veridistill.runs.diff.exams import Exams, Flip
from veridistill.runs.diff.section import Section, of_all

_EXAMS = {"base": "before training", "after": "after training"}


def exam_sections(found: Sequence[Exams]) -> list[Section]:
    """One for each pair of exams; one that says so where there is none."""
    none = Section("Problems", ("No exam can be compared: the runs do not both have one.",))
    return [_exam(one) for one in found] or [none]


def models(found: Exams) -> str:
    if found.a == found.b:
        return f"The models {_EXAMS[found.a]}"
    return f"A's model {_EXAMS[found.a]} and B's {_EXAMS[found.b]}"


def _exam(found: Exams) -> Section:
    title = f"Problems: {models(found)[0].lower()}{models(found)[1:]}"
    if not found.common:
        return Section(title, ("The exams share no problem.", *_left_out(found)))
    sentences = (
        f"{count(found.common)} problems are in both exams. B's model solves {count(found.won)} of them more often than"
        f" A's, {count(found.lost)} less often, and {count(found.even)} as often.",
        *_left_out(found),
        difference(found),
    )
    return Section(title, sentences, (*_benchmarks(found), *_flips(found)))


def _left_out(found: Exams) -> Iterator[str]:
    if found.in_a_only or found.in_b_only:
        yield f"{count(found.in_a_only)} problems are in A's exam alone, {count(found.in_b_only)} in B's."
    if found.changed:
        yield f"{count(found.changed)} have the same id and another text or reference, and are left out."


def difference(found: Exams) -> str:
    one = found.difference
    if one is None:
        return "No problem was graded in both exams."
    words = f"pass@1 {decimal(one['before'])} % in A, {decimal(one['after'])} % in B: {_signed(one['mean'])} points"
    if one["low"] is None:
        return f"{words}, too few problems for an interval."
    words += f", 95 % interval [{_signed(one['low'])}, {_signed(one['high'])}]"
    if one["method"] == "rule_of_three":
        words += " (all differences equal: rule of three)"
    return words + (": no difference is shown." if one["low"] <= 0 <= one["high"] else ".")


def _benchmarks(found: Exams) -> Iterator[Table]:
    rows = tuple((name, *_points(one)) for name, one in found.benchmarks.items() if one)
    if len(rows) > 1:
        header = ("benchmark", "problems", "A", "B", "B − A", "95 % interval")
        yield Table("pass@1 by benchmark", header, rows)


def _points(one: Mapping[str, Any]) -> tuple[str, ...]:
    interval = NONE if one["low"] is None else f"[{_signed(one['low'])}, {_signed(one['high'])}]"
    mean = decimal(one["before"]), decimal(one["after"]), _signed(one["mean"])
    return count(one["num_problems"]), *mean, interval


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + decimal(value)


def _flips(found: Exams) -> Iterator[Table]:
    for name, num in (("won", found.won), ("lost", found.lost)):
        if flips := found.flips[name]:
            caption = of_all(f"Problems {name} by B", len(flips), num)
            yield Table(caption, ("problem", "A right", "B right", "text"), tuple(_flip_rows(flips)))


def _flip_rows(flips: Sequence[Flip]) -> Iterator[tuple[str, ...]]:
    for one in flips:
        yield f"{one.benchmark}/{one.problem_id}", f"{one.a:.0f} %", f"{one.b:.0f} %", one.question
