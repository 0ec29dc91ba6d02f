r"""Finding the final answer in a reply, by the problem's kind. Pure text.

Reading what it states is left to `reading`, whether it is right to `comparison`.
"""

import re
from collections.abc import Callable, Sequence

from veridistill.domains import code, math
from veridistill.grading.compare import expressions
from veridistill.grading.compare.latex import MAX_ANSWER, tidy, unwrapped
from veridistill.grading.compare.reading import LEAD, LETTER_ALONE, behind, chosen
from veridistill.records import Kind, Problem


def final_answer(problem: Problem, text: str) -> str | None:
    """The final answer in the text after the reasoning, or None. Multiple choice: the letter, where there is one."""
    if problem.kind == "choice":
        return _choice(text, problem.options)
    if problem.kind == "math" and _is_many(problem.reference):
        return _all_of_last_line(text)
    return FINAL[problem.kind](text)


def _is_many(text: str) -> bool:
    """Whether a text is a set or a list, whose parts may be boxed one by one."""
    return len(text) <= MAX_ANSWER and expressions.shape(tidy(text)).kind in ("set", "list")


def _all_of_last_line(text: str) -> str | None:
    """The last box; where its line has several and it is no list itself, all of them, as a list."""
    last = math.answer_of(text)
    if last is None or _is_many(last):
        return last
    line = next((line for line in reversed(text.split("\n")) if math.answer_of(line) is not None), "")
    if math.answer_of(line) != last:
        return last
    starts = [found.start() for found in re.finditer(r"\\+(?:boxed|fbox)", line)]
    pieces = (line[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True))
    boxes = [box for piece in pieces if (box := math.answer_of(piece)) is not None]
    return ", ".join(boxes) if len(boxes) > 1 else last


def _choice(text: str, options: Sequence[str]) -> str | None:
    boxed = math.answer_of(text)
    if boxed is not None:
        return chosen(boxed, options) or boxed
    stated = _stated(text)
    letter = (chosen(stated, options) or _explained(stated, options)) if stated else None
    return letter or _headed(text, options) or _followed(text, options) or _worded(text, options)


def stated_or_boxed(text: str) -> str | None:
    """The last box, or what a last line `Answer: ...` says."""
    found = _ANSWER_LINE.fullmatch(_last_line(text))
    return math.answer_of(text) or (found["answer"].strip() if found else None)


FINAL: dict[Kind, Callable[[str], str | None]] = {
    "integer": math.answer_of,
    "math": math.answer_of,
    "quantity": stated_or_boxed,
    "exact": stated_or_boxed,
    "code": code.answer_of,
}
"""Where the final answer of each kind stands in the text after the reasoning; multiple choice has its own rules."""

_STATEMENT = re.compile(r"\b(?:answer|option|choice)\b(?:\s+is)?\s*[:：=]?\s*", re.IGNORECASE)
_ANSWER_LINE = re.compile(
    r"(?:the\s+)?(?:(?:final|correct|exact|my)\s+)*answer(?:\s+is)?\s*[:：]\s*(?P<answer>.+)", re.IGNORECASE
)
_HEADING = re.compile(r"(?:.*\W)?(?:answer|option|choice)(?:\s+is)?\s*[:：]?", re.IGNORECASE)
_LETTER = r"[(\[]?[A-Z][)\]]?|[(\[][a-z][)\]]"
_WITH_REASON = re.compile(
    rf"(?P<letter>{_LETTER})\s*(?:[,;:.–—-]|(?=(?:because|since|as|due)\b))\s*(?P<reason>.+)"
)
_LINE_ALONE = re.compile(
    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:(?:final|correct|right|best|my)\s+)*(?:answer|option|choice)"
    rf"(?:\s+is)?\s*[:：]?\s*(?P<letter>{_LETTER})\s*\.?",
    re.IGNORECASE,
)
# What takes an answer back, or names another one.
_DOUBT = re.compile(
    r"\b(?:but|however|wait|actually|unsure|sure|instead|hmm+|reconsider\w*|recheck\w*|correction|sorry|mistake|or|not|no(?=[,!.])"
    r"|second thought|alternatively|[A-Z]\)?\s+(?:is|was|seems?|must be|would be)\s+(?:the\s+|also\s+|more\s+)*"
    r"(?:correct|right|best|better|answer|likely))\b",
    re.IGNORECASE,
)
_CLAUSE = 200
"""Characters behind the word answer in which another option is looked for."""
_CLAUSE_END = re.compile(r"[.,;!?](?:\s|$)|\b(?:because|since|as|unlike)\b", re.IGNORECASE)
_CAPITAL = re.compile(r"(?<![\w'’])[A-Z](?![\w'’])")


def _last_line(text: str) -> str:
    """The last line without markup; empty when it is too long to be read."""
    line = text.rstrip().rpartition("\n")[2]
    return _bare(line) if len(line) <= MAX_ANSWER else ""


def _bare(line: str) -> str:
    return re.sub(r"[*_`#>]|^\s*-\s", "", line).strip()


def _stated(text: str) -> str | None:
    """What the last line states as the answer. A letter in prose is none: it is alone or marked."""
    line = _last_line(text)
    if LETTER_ALONE.fullmatch(unwrapped(line)):
        return line
    starts = list(_STATEMENT.finditer(line))
    if not starts:
        return None
    said = line[starts[-1].end() :].strip()
    # "The answer is a dog", "answer is b": outside a box a lone letter counts in upper case, or in brackets.
    bare = unwrapped(said)
    return None if re.fullmatch(r"[a-z][.:]?", bare) else said


def _headed(text: str, options: Sequence[str]) -> str | None:
    """The letter of a last line that is an option, word for word, below a line such as `### Answer`."""
    lines = [re.sub(r"[*_`#>]", "", line).strip() for line in text.split("\n") if line.strip()][-2:]
    if len(lines) < 2 or len(lines[0]) > MAX_ANSWER or not _HEADING.fullmatch(lines[0]):
        return None
    letter = chosen(lines[1], options) if LEAD.match(lines[1]) else None
    return letter if letter and chosen(behind(lines[1]), options) == letter else None


def _worded(text: str, options: Sequence[str]) -> str | None:
    """The letter of a last line `Answer: B. a dog` with the option's own text, which may hold the word answer too."""
    line = _last_line(text)
    for found in _STATEMENT.finditer(line):
        said = line[found.end() :]
        letter = chosen(said, options) if LEAD.match(said) else None
        if letter is not None and chosen(behind(said), options) == letter:
            return letter
    return None


def _explained(stated: str, options: Sequence[str]) -> str | None:
    """The letter of `B, because ...`, where the reason names no other option."""
    found = _WITH_REASON.fullmatch(unwrapped(stated))
    return _confirmed(chosen(found["letter"], options), found["reason"], options) if found else None


def _followed(text: str, options: Sequence[str]) -> str | None:
    """The letter of the last line `Answer: B` where nothing but an explanation follows."""
    lines = [_bare(line) for line in text.split("\n")]
    for number in reversed(range(len(lines))):
        line = unwrapped(lines[number]) if len(lines[number]) <= MAX_ANSWER else ""
        if (found := _LINE_ALONE.fullmatch(line)) and LETTER_ALONE.fullmatch(found["letter"]):
            return _confirmed(chosen(found["letter"], options), " ".join(lines[number + 1 :]), options)
    return None


def _confirmed(letter: str | None, explanation: str, options: Sequence[str]) -> str | None:
    """The letter, unless the explanation behind it takes it back or states another one."""
    said = [explanation[found.end() :][:_CLAUSE] for found in _STATEMENT.finditer(explanation)]
    others = {one for clause in said for one in _named(clause, options)} - {letter}
    return None if _DOUBT.search(explanation) or others else letter


def _named(said: str, options: Sequence[str]) -> set[str]:
    """The letters of the options that a clause such as `probably B` or `a dog for sure` names."""
    clause = _CLAUSE_END.split(said, maxsplit=1)[0]
    words = {clause.partition(" ")[0], *_CAPITAL.findall(clause)}
    texts = {
        text
        for text in options
        if text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", clause, re.IGNORECASE)
    }
    return {letter for text in words | texts if (letter := chosen(text, options))}
