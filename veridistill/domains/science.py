"""Science: the final answer is the last box, or else a last line `Answer: X`."""

import re

from veridistill.domains import math

_LINE = re.compile(
    r"[\s*_#>-]*+(?:the\s++)?(?:(?:final|correct)\s++)?answer(?:\s++is)?+[\s*_]*+[:：][\s*_]*+(?P<answer>.*)",
    re.IGNORECASE,
)
# A lettered option in its usual wrappings: `\text{(B)}`, `\mathbf{B}`, `**B**`, `(B)`, `B.`
_LETTER = re.compile(
    r"\$?\s*+(?:\\(?:text|math)[a-z]*+\s*+\{)?\s*+\**+\s*+\(?\s*+([A-Za-z])\s*+\)?\s*+[.:]?\s*+\**+\s*+\}?\s*+\$?"
)


def answer_of(text: str) -> str | None:
    """The last box, or the value of a last line `Answer: X`; a lettered option as its letter, upper case.

    Only the last line counts: an earlier "Answer: A" is an option under discussion.
    """
    found = math.answer_of(text) or _last_line(text)
    letter = _LETTER.fullmatch(found) if found else None
    return letter[1].upper() if letter else found


def _last_line(text: str) -> str | None:
    match = _LINE.fullmatch(text.rstrip().rpartition("\n")[2])
    return (match["answer"].strip(" \t*_$") or None) if match else None
