r"""Comparing an answer with a reference, by kind, and whether a reference can be read. Pure: nothing is ever evaluated.

Whether two expressions are equal, where that needs algebra, is left open (None) for `mathcheck`, in separate
processes. Finding the answer in a reply is left to `answers`, running code to `programs`.
"""

from collections.abc import Callable

from veridistill.grading.compare import bounds, expressions
from veridistill.grading.compare.exact import same_exact
from veridistill.grading.compare.latex import MAX_ANSWER, alike, words
from veridistill.grading.compare.quantities import measured, same_quantity
from veridistill.grading.compare.reading import choice, chosen, integer
from veridistill.records import Problem


def same(kind: str, answer: str, reference: str) -> bool | None:
    """Whether an answer is the reference, as problems of this kind compare them (`KINDS`); None: needs algebra."""
    return KINDS[kind](answer, reference)


def same_integer(answer: str, reference: str) -> bool:
    found = integer(answer)
    return found is not None and found == integer(reference)


def same_choice(answer: str, reference: str) -> bool:
    found = choice(answer)
    return found is not None and found == choice(reference)


def same_math(answer: str, reference: str) -> bool | None:
    """True or False where text and numbers decide it, None where it needs algebra."""
    if bounds.beyond(answer) or bounds.beyond(reference):
        return alike(answer, reference) or None
    return expressions.same(answer, reference, lambda found, wanted: None)


KINDS: dict[str, Callable[[str, str], bool | None]] = {
    "integer": same_integer,
    "exact": same_exact,
    "choice": same_choice,
    "math": same_math,
    "quantity": same_quantity,
}
"""The kinds that are compared as text, and how each compares an answer with a reference."""


def fault(problem: Problem) -> str | None:
    """Why the problem's reference cannot be read, for any answer; empty when it can, None: needs a parser."""
    reference = problem.reference
    if len(reference) > MAX_ANSWER:
        return f"a reference of {len(reference):,} characters is longer than the {MAX_ANSWER:,} that are read"
    if problem.kind == "choice":
        known = chosen(reference, problem.options) is not None
        return "" if known else f"the reference {reference!r} is no option"
    if problem.kind == "integer":
        return "" if integer(reference) is not None else f"the reference {reference!r} is no integer"
    if problem.kind == "quantity":
        return "" if measured(reference) else f"the reference {reference!r} is no number with a unit"
    if problem.kind == "math":
        return "" if bounds.beyond(reference) else _mathematics(reference)
    return "" if words(reference) else "the reference is empty"


def _mathematics(reference: str) -> str | None:
    return "" if expressions.readable(reference, lambda value: None) else None
