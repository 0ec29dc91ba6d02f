"""Every decision of the method, as pure functions: no I/O, no engine, no configuration.

Only this module splits a reply into reasoning and answer, and only this module reads a verdict.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import comb

from veridistill.records import Ballot, Candidate, Completion, Outcome, Vote

THINK_CLOSE = "</think>"
THINK_OPEN = "<think>"
MARKS = ("[[Y]]", "[[N]]")

# Answers without content that judges nevertheless tend to accept (arXiv 2507.08794): malformed, and never judged.
_FILLER = re.compile(
    r"((here is |here's )?(the |a |my )?(step[- ]by[- ]step )?"
    r"(solution|answer|final answer|thought process|reasoning|explanation)( is)?"
    r"|let'?s (solve|think)(\s+(about|through))?(\s+(this problem|the problem|this|it))?(\s+step by step)?"
    r"|解|答案|かいせつ|respuesta|lösung|réponse)?[\s\W_]*+",
    re.IGNORECASE,
)
# The empty set, list or tuple: an answer. (The empty math of `\[\]` and `\(\)` is none.)
_EMPTY_COLLECTION = re.compile(r"\\\{\s*+\\\}|\[\s*+\]|\(\s*+\)")
_MARKUP = re.compile(r"\\(?:text|math)[a-z]*|\\q?quad|\\[,;:! ]|[*_{}$#]")
_MARK = re.compile(r"\[\[\s*+([YN])\s*+\]\]", re.IGNORECASE)

# The words that a label may consist of: articles and pronouns, names for a verdict, words of approval. The list is
# closed, since a list of negations, doubts and conditions could never be complete ("Hallucinated: [[Y]]").
_LABEL_WORDS = frozenset(
    """
    a all an and are both i is it its my of our the these they this we
    analysis answer assessment ballot check classification comparison conclusion cycle decision determination
    evaluation fact grade inferred judge judgement judgment label last line mark opinion points question
    questions rating reasoning reply response result results review ruling score solution status steps summary
    validation verdict verification vote
    accept acceptable acceptance accepted accuracy accurate agree agrees approve approved complete completely
    completeness conclude consistency consistent correct correctly correctness entirely equal equivalence equivalent
    factual factuality factually final finally fully hence hold holds identical match matches overall pass passed
    passes right same so sound therefore thus true valid validity verified yes
    """.split()  # noqa: SIM905
)
_MOST_LABEL_WORDS = 4
_LONGEST_VERDICT_LINE = 200
_WRAPPING = re.compile(r"\\(?:boxed|fbox|text|textbf|mathbf|mathrm)\{([^{}]*)\}")
_LINE_MARKUP = re.compile(r"[*_`$]|\\[()\[\]]")
_VERDICT = re.compile(
    r"""
    (?: (?: [-+•] | \#{1,6} | \d{1,2}[.)] ) [ ] )?        # list sign or heading
    (?: (?P<label> [a-z]+ (?: [ ] [a-z]+ )* ) [ ]? : [ ]?
      | (?: step [ ] \d{1,2} [ ]? [.:] [ ] )?
        (?: (?: so | thus | hence | therefore | overall | finally ) ,? [ ] )?
        (?: the | my | our ) [ ] (?: (?: final | correct | right | overall ) [ ] )?
        (?: answer | verdict | judge?ment | decision | conclusion | result | vote | evaluation | assessment | response )
        [ ] is [ ]
    )?
    \[\[ [ ]? (?P<letter> [YN] ) [ ]? \]\]
    [ ]? [.!]?
    """,
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
# Markup that an earlier line may hold around or within a mark. Of `\\[` the bracket stays: it may belong to the mark.
_ANY_MARKUP = re.compile(r"\\[a-zA-Z]+|\\[()]|\\(?=[\[\]])|</?[a-zA-Z]{1,9}>|[*_`${}]")
# How a line quotes the judge's instruction: each mark with its own condition, or one right after the other.
_ANY_MARK = r"\[\[\s*+[YN]\s*+\]\]"
_INSTRUCTION = re.compile(
    rf"{_ANY_MARK}[.,;]?[ ]or[ ](?:accepted:[ ])?{_ANY_MARK}"
    rf"|{_ANY_MARK}(?:[,;]?[ ](?:only[ ])?if|[ ]otherwise)\b"
    rf"|\b(?:if(?:[ ][\w']+){{1,8}}|otherwise|else),?[ ](?:it[ ]is[ ])?(?:accepted:[ ])?{_ANY_MARK}",
    re.IGNORECASE,
)
_FENCE = re.compile(r"(`{3,}|~{3,})(.*)")


@dataclass(frozen=True, slots=True)
class Split:
    """A reply in two: `reasoning` (None when there is none) and `answer`, the text after the last `</think>`.

    `closed` is False when reasoning was opened, or opened again, and never closed; then `answer` is empty.
    """

    reasoning: str | None
    answer: str
    closed: bool


def split(text: str) -> Split:
    """Reasoning and answer of a raw reply. Some templates put `<think>` into the prompt, so it may be missing."""
    reasoning, mark, answer = text.rpartition(THINK_CLOSE)
    if THINK_OPEN in answer:
        return Split(text.partition(THINK_OPEN)[2].strip(), "", closed=False)
    if mark:
        return Split(reasoning.removeprefix(THINK_OPEN).strip(), answer.strip(), closed=True)
    return Split(None, text.strip(), closed=True)


def defect(completion: Completion, answer_of: Callable[[str], str | None], reasoning: bool) -> str | None:
    """Why a candidate is malformed, or None. `answer_of` finds the final answer in the text after the reasoning.

    In order: "truncated" (any finish reason but stop), "open_reasoning", "no_reasoning" (only when `reasoning` is
    required), "no_answer" (no final answer, or an empty one), "filler" (an answer that says nothing).
    """
    if completion.finish_reason != "stop":
        return "truncated"
    parts = split(completion.text)
    if not parts.closed:
        return "open_reasoning"
    if reasoning and parts.reasoning is None:
        return "no_reasoning"
    found = answer_of(parts.answer)
    if found is None or not found.strip():
        return "no_answer"
    return "filler" if is_filler(found) else None


def is_filler(answer: str) -> bool:
    """Blank, punctuation alone, or a bare opener such as "Solution:".

    Mathematical signs such as ∞ are answers, and so are an empty set, list or tuple.
    """
    text = _MARKUP.sub("", answer.replace("’", "'")).strip()
    if _FILLER.fullmatch(text) is None or _EMPTY_COLLECTION.search(answer):
        return False
    return not any(letter > "\x7f" and unicodedata.category(letter) == "Sm" for letter in answer)


NO_VERDICT = "last line is not a verdict"
CUT = "finish reason length"
NO_REFERENCE = "no reference solution"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a judge's reply reads: the ballot, and for an invalid one the reason."""

    ballot: Ballot
    reason: str = ""


def read_verdict(completion: Completion, reasoning: bool) -> Reading:
    """The ballot of a judge's reply, by the strict rule that docs/method.md states.

    Valid only if the engine says `stop`, the reasoning is closed (and present, where `reasoning` is required), the
    last non-empty line of the answer is a verdict (`_letter`) outside any code block, and no other line contradicts it.
    """
    if completion.finish_reason != "stop":
        return Reading("invalid", f"finish reason {completion.finish_reason}")
    parts = split(completion.text)
    if not parts.closed:
        return Reading("invalid", "reasoning not closed")
    if reasoning and parts.reasoning is None:
        return Reading("invalid", "no reasoning")
    *others, last = _lines(parts.answer) or [""]
    letter = _letter(last)
    if letter is None:
        return Reading("invalid", NO_VERDICT)
    if _ends_in_code(others):
        return Reading("invalid", "verdict in a code block")
    if any(_contradicts(line, letter) for line in others):
        return Reading("invalid", "contradictory verdicts")
    return Reading("yes" if letter == "Y" else "no")


def follows_up(reply: Completion, reading: Reading) -> bool:
    """Whether a judge's reply is asked for its verdict.

    It ended by itself, says something, ends in no verdict, and has no marks that would contradict either answer.
    """
    lines = _lines(split(reply.text).answer)
    return (
        reading.reason == NO_VERDICT
        and bool(lines)
        and not all(any(_contradicts(line, letter) for line in lines) for letter in "YN")
    )


def read_follow_up(reply: Completion, completion: Completion, reasoning: bool) -> Reading:
    """The ballot of the reply to a follow-up, which no line of the `reply` that it follows may contradict.

    So a judge whose reply ended in "I would say [[N]]", which is no verdict, is not talked into a yes.
    """
    reading = read_verdict(completion, reasoning)
    letter = {"yes": "Y", "no": "N"}.get(reading.ballot)
    if letter and any(_contradicts(line, letter) for line in _lines(split(reply.text).answer)):
        return Reading("invalid", "contradictory verdicts")
    return reading


def _lines(answer: str) -> list[str]:
    return [line.strip() for line in answer.split("\n") if line.strip()]


def _letter(line: str) -> str | None:
    """The letter of a line that holds one mark and, markup aside, at most a list sign, a label and a full stop.

    A label is up to four of `_LABEL_WORDS` and a colon, or a sentence of the form "The correct answer is".
    """
    if len(line) > _LONGEST_VERDICT_LINE:
        return None
    wrapped = None
    while line != wrapped:
        wrapped, line = line, _WRAPPING.sub(r"\1", line)
    found = _VERDICT.fullmatch(re.sub("[ \t]+", " ", _LINE_MARKUP.sub("", line)).strip(" "))
    if found is None:
        return None
    words = (found["label"] or "").lower().split()
    known = len(words) <= _MOST_LABEL_WORDS and _LABEL_WORDS.issuperset(words)
    return found["letter"].upper() if known else None


def _ends_in_code(lines: Sequence[str]) -> bool:
    """Whether a code block is open after the lines: only a fence of its own sign, at least as long, closes it."""
    opened = ""
    for found in filter(None, map(_FENCE.match, lines)):
        fence, rest = found.groups()
        if opened:
            opened = "" if fence.startswith(opened) and not rest else opened
        elif fence[0] == "~" or "`" not in rest:
            opened = fence
    return bool(opened)


def _contradicts(line: str, letter: str) -> bool:
    """Whether an earlier line gives the other verdict, markup aside: it ends in the other mark.

    A yes is contradicted by any mention of [[N]], wherever it stands, unless it quotes the judge's instruction.
    """
    if not line.isascii():
        line = "".join(c for c in unicodedata.normalize("NFKC", line) if unicodedata.category(c) != "Cf")
    line = _ANY_MARKUP.sub("", line)
    marks = list(_MARK.finditer(line))
    letters = {mark[1].upper() for mark in marks}
    if letters <= {letter}:
        return False
    ends = marks[-1][1].upper() != letter and not any(map(str.isalnum, line[marks[-1].end() :]))
    quotes = len(letters) == 2 and _MARK.search(_INSTRUCTION.sub(" ", line)) is None
    return ends or (letter == "Y" and not quotes)


def final_text(completion: Completion) -> str | None:
    """The text after the reasoning, all its lines, such as an inferred question; None for a reply that is truncated,
    open or empty.
    """
    parts = split(completion.text)
    return parts.answer if completion.finish_reason == "stop" and parts.closed and parts.answer else None


def outcome(votes: Sequence[Vote]) -> Outcome:
    """Accepted if all votes are yes, rejected if one is no, else unjudged."""
    if all(vote.passed for vote in votes):
        return "accepted"
    return "rejected" if any(vote.ballot == "no" for vote in votes) else "unjudged"


def ended_by(votes: Sequence[Vote]) -> str | None:
    """The stage that ended a candidate: of its first no, else of its first invalid vote."""
    for ballot in ("no", "invalid"):
        for vote in votes:
            if vote.ballot == ballot:
                return vote.stage
    return None


def by_length(candidates: Collection[Candidate]) -> list[Candidate]:
    """Shortest completion first; ties by index."""
    return sorted(candidates, key=lambda c: (c.completion.completion_tokens, c.index))


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The unbiased estimate of pass@k from n samples (Chen et al. 2021, arXiv 2107.03374, eq. 1)."""
    if not 1 <= k <= n:
        raise ValueError(f"k must be between 1 and n; found k={k}, n={n}")
    return 1.0 - comb(n - correct, k) / comb(n, k)
