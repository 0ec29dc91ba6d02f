"""What is not tried: answers whose size or depth no computer could evaluate. Pure."""

import re

from veridistill.grading.compare.latex import CLOSE, OPEN, TOKEN

_MOST_NESTED = 24
_MOST_EXPONENT = 20_000
_HUGE_FACTORIAL = re.compile(r"(?<![0-9.])[0-9]{5,}\s*\)?\s*!|!\s*!\s*!|\)\s*!\s*\)\s*!")


def beyond(text: str) -> str:
    """Why no computer could evaluate a value, or empty: so that a power tower is refused at once, not at a time limit.

    What passes and is still too large ends at the worker's limits.
    """
    depth = deepest = 0
    for token in TOKEN.finditer(text):
        depth += (token[0] in OPEN) - (token[0] in CLOSE)
        deepest = max(deepest, depth)
    if deepest > _MOST_NESTED:
        return f"brackets nested {deepest} deep, more than {_MOST_NESTED}"
    if _HUGE_FACTORIAL.search(text):
        return "a factorial too large to compute"
    for exponent in _exponents(text):
        if _size(exponent) > _MOST_EXPONENT:
            return f"an exponent above {_MOST_EXPONENT}"
    return ""


def _exponents(text: str) -> list[str]:
    """What stands behind each `^`: a braced group, or one character."""
    found = []
    for at in re.finditer(r"\^\s*", text):
        rest = text[at.end() :]
        opening, inner, _ = _group(rest)
        found.append(inner if opening else rest[:1])
    return found


def _group(text: str) -> tuple[str, str, str]:
    if not text.startswith(("{", "(")):
        return "", "", ""
    depth = 0
    for token in TOKEN.finditer(text):
        depth += (token[0] in OPEN) - (token[0] in CLOSE)
        if depth == 0:
            return text[0], text[1 : token.start()], token[0]
    return "", "", ""


def _size(exponent: str) -> float:
    """How large an exponent is, at least, if it is a number or a tower of numbers; else 0."""
    base, mark, rest = exponent.partition("^")
    digits = re.findall(r"[0-9]+", base.replace(",", ""))
    if not digits:
        return 0.0
    value = float(max(digits, key=len)[:12]) if len(max(digits, key=len)) < 12 else 1e12
    if not mark:
        return 0.0 if re.search(r"[A-Za-z]", base) else value
    above = _group(rest.strip())
    power = _size(above[1] if above[0] else rest.strip()[:1])
    last = float(digits[-1][:12])
    return last ** min(power, 60.0) if last > 1 and power else value
