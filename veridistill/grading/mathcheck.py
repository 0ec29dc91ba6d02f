"""The program of a worker that compares mathematics: one JSON line in, one out. `workers` starts and kills it.

A line is an answer and its reference, which are compared, or a reference alone, which is parsed.

Parsing is math-verify's (its LaTeX parser; never the one that evaluates Python), and so are sets, intervals and
inequalities. Numbers, equations and expressions are compared here, because its own rules take 1/3^50 for 1/3^49, any
equation for its right side, and two equations without real solutions for each other.

Comparisons are contained by limits on memory and processor time, set by the kernel, and an audit hook that
refuses to compile anything but numbers.
"""

import json
import os
import re
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

from veridistill.grading.compare import expressions, values

CPU_SECONDS = 4.0
"""Processor time of one comparison: unlike a clock it is the same on a busy machine. The signal kills the process."""
MEMORY = 2 << 30
"""Bytes of address space. SymPy itself takes a tenth of it."""
_DIGITS = 60
_NUMBER = re.compile(r"(?:(?:Integer|Float|Rational) ?\(['0-9.eE+ -]*\)|[-+*/() ])+|from sympy import \*")
_GENERATOR = "sympy.polys.monomials"  # compiles functions of its own, from the number of variables alone
_FORBIDDEN = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pty.")
_GENUINE = {"os.listdir", "os.scandir"}  # what imports need


class Unreadable(Exception):
    """A text that is not mathematics; the message says whether it is the answer or the reference."""


def compare(answer: str, reference: str) -> bool:
    """Whether two answers are the same. Raises `Unreadable`, or any error of the libraries."""
    return bool(expressions.same(answer, reference, equal))


def readable(reference: str) -> bool:
    """Whether a reference can be compared with answers. Raises MemoryError."""
    return bool(expressions.readable(reference, _parses))


def _parses(text: str) -> bool:
    try:
        _parsed(text)
    except MemoryError:
        raise
    except Exception:
        return False
    return True


def equal(answer: str, reference: str) -> bool:
    """Whether two values that `expressions` could not compare are equal."""
    try:
        wanted = _parsed(reference)
    except Exception as error:
        raise Unreadable("reference") from error
    try:
        found = _parsed(answer)
    except Exception as error:
        raise Unreadable("answer") from error
    for text, other in ((answer, wanted), (reference, found)):
        if (number := values.number(text)) is not None and number.rounded and _is_constant(other):
            return _rounds_to(other, number)
    return _same(found, wanted)


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """The text as SymPy has it: case kept, decimals exact, i and e the constants."""
    from latex2sympy2_extended.latex2sympy2 import (
        ConversionConfig,
        NormalizationConfig,
        latex2sympy,
        normalize_latex,
    )
    from math_verify.grader import should_treat_as_complex
    from sympy import Basic, Float, I, MatrixBase, Rational, Symbol

    rules = NormalizationConfig(basic_latex=True, malformed_operators=True, boxed="none")
    latex = normalize_latex(text, config=rules)
    parsed = latex2sympy(
        latex,
        is_real=not should_treat_as_complex(latex),
        convert_degrees=True,
        normalization_config=None,
        conversion_config=ConversionConfig(lowercase_symbols=False),
    )
    if not isinstance(parsed, Basic | MatrixBase):
        raise ValueError("nothing could be parsed")
    exact: dict[Any, Any] = {number: Rational(str(number)) for number in parsed.atoms(Float)}
    exact |= {
        symbol: I for symbol in parsed.free_symbols if isinstance(symbol, Symbol) and symbol.name == "i"
    }
    return parsed.xreplace(exact) if exact else parsed


def _same(found: Any, wanted: Any) -> bool:
    from math_verify import verify
    from sympy import Eq, Expr, MatrixBase

    if isinstance(found, MatrixBase) and isinstance(wanted, MatrixBase):
        return found.shape == wanted.shape and all(map(_same, found, wanted))
    if isinstance(found, Eq) or isinstance(wanted, Eq):
        return isinstance(found, Eq) and isinstance(wanted, Eq) and _same_equation(found, wanted)
    if isinstance(found, Expr) and isinstance(wanted, Expr):
        if _is_constant(found) and _is_constant(wanted):
            return _same_constant(found, wanted)
        return _is_zero(found - wanted)
    if isinstance(found, MatrixBase | Expr) or isinstance(wanted, MatrixBase | Expr):
        return False
    return bool(verify(wanted, found, timeout_seconds=None, allow_set_relation_comp=True))


def _is_constant(value: Any) -> bool:
    from sympy import Expr

    return isinstance(value, Expr) and not value.free_symbols


def _same_constant(found: Any, wanted: Any) -> bool:
    """By value: exact for rationals, else to 40 digits relative to their size."""
    from sympy import nan, zoo

    found, wanted = found.doit(), wanted.doit()
    if found == wanted:
        return not found.has(nan, zoo)
    if found.is_Rational and wanted.is_Rational:
        return False
    one, other = found.evalf(_DIGITS), wanted.evalf(_DIGITS)
    if not (abs(one).is_Number and abs(other).is_Number):
        return _is_zero(found - wanted)
    size = max(abs(one), abs(other))
    if not size.is_finite:
        return False
    if size < 1e-30:
        return _is_zero(found - wanted)
    return bool(abs(one - other) <= size * 10**-40)


def _rounds_to(value: Any, number: values.Number) -> bool:
    from sympy import Rational

    decimal, step = number.value, number.step or 0
    distance = abs(value.doit().evalf(_DIGITS) - Rational(decimal.numerator, decimal.denominator))
    return bool(distance.is_Number and distance <= Rational(step.numerator, step.denominator) / 2)


def _is_zero(difference: Any) -> bool:
    from sympy import simplify

    return bool(simplify(difference.doit()) == 0)


def _same_equation(found: Any, wanted: Any) -> bool:
    """Whether one equation is the other times a constant."""
    from sympy import simplify

    one, other = found.lhs - found.rhs, wanted.lhs - wanted.rhs
    if one == 0 or other == 0:
        return bool(one == other)
    ratio = simplify(one / other)
    return bool(not ratio.free_symbols and ratio.is_finite and ratio != 0)


# --- the process --------------------------------------------------------------------------------------------


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What libraries print must not be taken for a reply.
    out = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)

    def say(**reply: Any) -> None:
        print(json.dumps(reply), file=out, flush=True)

    try:
        # Warm: everything that is imported or compiled late, is now.
        for one, other in WARM:
            compare(one, other)
    except (ImportError, MemoryError) as error:
        say(error=f"{type(error).__name__}: {error}")
        return
    sys.addaudithook(refuse)
    say(ready=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        reply, usable = replied(*json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        say(**reply)
        if not usable:
            return


def replied(*question: str) -> tuple[dict[str, Any], bool]:
    """The reply to an answer and a reference, or to a reference alone, and whether the process may go on."""
    try:
        return {"readable": readable(*question)} if len(question) == 1 else {"same": compare(*question)}, True
    except Unreadable as error:
        return {"unreadable": str(error)}, not isinstance(error.__cause__, MemoryError)
    except MemoryError:
        return {"error": "out of memory"}, False
    except Exception as error:
        # The libraries' own faults on odd input: no equality was shown.
        return {"error": type(error).__name__}, True


WARM = (
    (r"\frac{\sqrt3}{2}x", r"x\sin\frac{\pi}{3}"),
    (r"[0,1)\cup(2,\infty)", r"(-\infty,1)"),
    (r"x^2+2x=1", r"(x+1)^2=2"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&a\end{pmatrix}"),
    (r"x>5", r"(5,\infty)"),
    (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
    (r"3.14159265\log 2", r"\int_0^1 x\,dx"),
)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: no text becomes code, but for the numbers that SymPy reads so; nothing leaves the process."""
    if event == "compile":
        source, name = arguments
        text = source.decode("utf-8", "replace") if isinstance(source, bytes) else str(source)
        generated = sys._getframe(1).f_globals.get("__name__") == _GENERATOR
        if str(name).startswith("<") and not generated and not _NUMBER.fullmatch(text):
            raise RuntimeError("this process compiles no code")
    elif event.startswith(_FORBIDDEN) and event not in _GENUINE:
        raise RuntimeError(f"this process does not do {event}")
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise RuntimeError("this process writes no files")


if __name__ == "__main__":
    main()
