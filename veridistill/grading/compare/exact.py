"""Comparing answers as text: the same words, number or LaTeX. Pure."""

import re
import unicodedata

from veridistill.grading.compare import values
from veridistill.grading.compare.latex import plain, words

_MARKUP = re.compile(r"[\\^_{}$+*/=]")


def same_exact(answer: str, reference: str) -> bool:
    """The same words, the same number or the same LaTeX.

    Case is ignored in words of four letters or more and at a word's start: `Co` and `CO` are two substances.
    """
    found, wanted = (unicodedata.normalize("NFKC", words(text)).split() for text in (answer, reference))
    if wanted and len(found) == len(wanted) and all(map(_same_word, found, wanted)):
        return True
    if _MARKUP.search(reference) and plain(answer) == plain(reference) != "":
        return True
    one, other = values.number(" ".join(found)), values.number(" ".join(wanted))
    return one is not None and other is not None and one.value == other.value


def _same_word(one: str, other: str) -> bool:
    if one == other:
        return True
    letters = sum(map(str.isalpha, one))
    return one.casefold() == other.casefold() and (
        (letters >= 4 and one.isalpha()) or (one[1:] == other[1:] and letters > 1)
    )
