"""How the science world's judges work, each on its own part of an answer.

*Infer* copies what the answer says is given and asked; *compare* sets that beside the question, term by term.
*Factuality* knows the formulas and the prefix and multiplies what the answer multiplies; it does not look at the
question. *Correctness* repeats the answer's steps with the question's numbers, compares the result with the box, and
looks whether the box holds a unit, or the letter of an option; formula and prefix it takes as the answer has them.
"""

from veridistill.lab.worlds.replies import JUNK_WORK, checked, digits_up, pairs, think
from veridistill.lab.worlds.science import answers, questions
from veridistill.lab.worlds.science.answers import Stated
from veridistill.lab.worlds.science.questions import Measurement
from veridistill.lab.worlds.science.relations import relation_of

_UNKNOWN = "?"
_UNITLESS = ".!\n"


def infer(text: str) -> str:
    """The question that the answer states, in the first wording."""
    found = answers.read(text)
    if found is None:
        return think("", _UNKNOWN)
    (s0, n0, u0), (s1, n1, u1) = found.given
    inferred = questions.CANONICAL.format(s0=s0, g0=f"{n0} {u0}", s1=s1, g1=f"{n1} {u1}", s2=found.asked)
    return think("", inferred)


def compare(q: Measurement, inferred: str) -> str:
    """Symbols, numbers and units of the two in turn, up to the first difference."""
    found = questions.terms(inferred)
    if found is None:
        return checked(JUNK_WORK)
    own = [part for given in q.given for part in (given.quantity.symbol, str(given.number), given.unit)]
    work = ""
    for one, other in zip([*own, q.asked.symbol], found, strict=True):
        work += pairs(one, other) if one.isdecimal() else f"{one}/{other}{',' if one == other else '!'}"
        if work.endswith("!"):
            break
    return checked(work + "\n")


def times(a: int, x: int, claimed: int) -> str:
    """a · x against a claimed product, from the units up.

    `5:15=5,` is the digit of x, a · digit + carry, and the claimed digit; `.` represents a missing one.
    Stops with `!` at the first difference.
    """
    work, carry, digits, rest = f"{a}*", 0, digits_up(x, 1), [str(d) for d in digits_up(claimed, 1)]
    for digit in digits:
        value = a * digit + carry
        carry = value // 10
        found = rest.pop(0) if rest else "."
        if found != str(value % 10):
            return f"{work}{digit}:{value:02}={found}!"
        work += f"{digit}:{value:02}={found},"
    if carry or rest:
        found = rest.pop(0) if rest else "."
        work += f".:{carry:02}={found}{',' if found == str(carry) and not rest else '!'}"
    return work


def factuality(q: Measurement, text: str) -> str:
    found = answers.read(text)
    return checked(JUNK_WORK if found is None else _facts(found) + "\n")


def _facts(found: Stated) -> str:
    formula = f"{found.asked}={found.formula}"
    relation = relation_of(frozenset((found.asked, found.formula[0], found.formula[-1])))
    if relation is None or relation.formula(found.asked) != formula:
        return formula + "!"
    work = formula + ","
    if found.power is not None:
        work += f"k{found.power}{',' if found.power == 1000 else '!'}"
    if work.endswith("!"):
        return work
    if found.operation == "/":
        return work + "\n" + times(found.right, found.result, found.left)
    a, x = (found.left, found.right) if 1 < found.left < 10 else (found.right, found.left)
    return work + "\n" + times(a, x, found.result)


def correctness(q: Measurement, text: str) -> str:
    found = answers.read(text)
    return checked(JUNK_WORK if found is None else _repeated(q, found), "Accepted: ")


def _repeated(q: Measurement, found: Stated) -> str:
    value, shown = _boxed(q, found.box)
    if value is None or (q.long.kilo and found.power is None):
        return _UNITLESS
    a, x = q.digit.number, q.long.number * ((found.power or 1) if q.long.kilo else 1)
    if found.operation == "/":
        return f"{shown},\n{times(a, value, x)}\n"
    return f"{shown},\n{times(a, x, value)}\n"


def _boxed(q: Measurement, box: str) -> tuple[int | None, str]:
    """The number in the box and what is copied of it: the unit, or the option's letter and number."""
    if q.options:
        place = "ABCD".find(box) if len(box) == 1 else -1
        return (q.options[place], f"{box} {q.options[place]}") if place >= 0 else (None, "")
    number, _, unit = box.partition(" ")
    return (int(number), unit) if number.isdecimal() and unit else (None, "")
