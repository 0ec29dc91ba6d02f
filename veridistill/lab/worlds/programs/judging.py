"""How the programs world's judges work, each on its own part of an answer.

*Infer* reads the operations off the program, one by one; *compare* sets them beside those of the question. *Factuality*
looks whether the program is one (its colon, what it returns), and traces the example that the answer claims.
*Correctness* traces the question's example through the answer's operations. Tests are run by graders alone.
"""

from itertools import zip_longest

from veridistill.lab.worlds.programs import answers, questions
from veridistill.lab.worlds.programs.operations import Operation, Value, compact
from veridistill.lab.worlds.programs.questions import Program
from veridistill.lab.worlds.replies import JUNK_WORK, checked, pairs, think

_FAILS = "?!"


def infer(text: str) -> str:
    """The operations of the answer's program as a question in the first wording, without an example."""
    found = answers.read(text)
    if found is None or not found.operations:
        return think("", "?")
    return think("", questions.CANONICAL.format(steps=questions.steps(found.operations, 0)))


def compare(q: Program, inferred: str) -> str:
    """Operation by operation; a digit that the question leaves open fits any."""
    head, tail = questions.CANONICAL.split("{steps}")
    framed = inferred.startswith(head) and inferred.endswith(tail)
    other = questions.read_steps(inferred.removeprefix(head).removesuffix(tail)) if framed else None
    if other is None:
        return checked(JUNK_WORK)
    work = ""
    for one, two in zip_longest(q.asked, other):
        work += _beside(one, two)
        if work.endswith("!"):
            break
    return checked(work + "\n")


def _beside(one: Operation | None, two: Operation | None) -> str:
    if one is None or two is None or one.name != two.name:
        return f"{one.name if one else '.'}/{two.name if two else '.'}!"
    work = f"{one.name}/{two.name},"
    if two.k is None:
        return work
    return work + (f"k{two.k}," if one.k is None else pairs(str(one.k), str(two.k)))


def factuality(q: Program, text: str) -> str:
    found = answers.read(text)
    if found is None:
        return checked(JUNK_WORK)
    form = f"{found.colon or '-'}{found.returned or '-'}"
    if form != ":v":
        return checked(form + "!\n")
    return checked(f"{form},\n" + _traced(found.operations, found.given, found.claimed))


def correctness(q: Program, text: str) -> str:
    found = answers.read(text)
    work = JUNK_WORK if found is None else _traced(found.operations, q.given, q.wanted)
    return checked(work, "Accepted: ")


def _traced(operations: tuple[Operation, ...], given: tuple[int, ...], wanted: Value) -> str:
    """The trace, and its last value against the wanted one."""
    work = answers.trace(operations, given)
    if work is None:
        return _FAILS + "\n"
    return f"{work}\n{pairs(work.rpartition(' ')[2], compact(wanted))}\n"
