"""Grading by tables: right and wrong answers of each kind, and where an answer is looked for."""

import pytest

from veridistill.evaluation.grading import MAX_ANSWER, attempt, choice, grade, integer, plain, same
from veridistill.records import Completion, Problem

NINES = "9" * 1500


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("  42 ", 42),
        ("042", 42),
        ("000", 0),
        ("-7", -7),
        ("−7", -7),
        ("- 7", -7),
        ("+7", 7),
        ("1,234", 1234),
        ("1,234,567", 1234567),
        ("1{,}234", 1234),
        (r"1\,234", 1234),
        ("1 234", 1234),
        ("$42$", 42),
        (r"\(42\)", 42),
        (r"\$42", 42),
        (r"\$1,500", 1500),
        (r"\text{42}", 42),
        (r"\mathbf{42}", 42),
        (r"42\text{ cm}", 42),
        (r"42 \text{cm}^2", 42),
        ("42 cm", 42),
        ("42 m", 42),
        (r"42\text{ m}", 42),
        ("42 square units", 42),
        ("42 cm^2", 42),
        (r"42^\circ", 42),
        (r"42^{\circ}", 42),
        ("42°", 42),
        (r"42\%", 42),
        ("42.", 42),
        ("42.00", 42),
        ("x = 42", 42),
        ("x=-42", -42),
        (r"n = 1{,}000", 1000),
        (NINES, int(NINES)),
        # none of these is one integer
        ("", None),
        ("42.5", None),
        ("12, 13", None),
        ("12,13", None),
        ("1,23", None),
        ("12 34", None),
        ("1e3", None),
        ("1e3 x", None),
        ("10^3", None),
        ("10²", None),
        ("1/2", None),
        (r"\frac{84}{2}", None),
        ("2+2", None),
        ("--5", None),
        ("2x", None),
        ("2 x", None),
        ("2 pi", None),
        ("5 million", None),
        ("5 million dollars", None),
        ("5 dollars or", None),
        (r"2\pi", None),
        ("forty-two", None),
        ("42 or 43", None),
        ("42 and 7 cm", None),
        ("().__class__", None),
        ("2^{2^{2^{49}}}", None),
        ("9" * (MAX_ANSWER + 1), None),
    ],
)
def test_integer(text: str, value: int | None) -> None:
    assert integer(text) == value


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("[B]", "B"),
        ("B.", "B"),
        ("B)", "B"),
        ("**B**", "B"),
        (r"\text{(B)}", "B"),
        (r"\textbf{B}", "B"),
        ("option B", "B"),
        ("The correct answer is B", "B"),
        ("choice (C)", "C"),
        ("(B) 12 cm", "B"),
        ("B. 12 cm", "B"),
        ("B: twelve", "B"),
        ("a dog", None),
        ("A dog", None),
        ("i.e. five", None),
        ("AB", None),
        ("12", None),
        ("", None),
        ("A or B", None),
    ],
)
def test_choice(text: str, letter: str | None) -> None:
    assert choice(text) == letter


@pytest.mark.parametrize(
    ("kind", "answer", "reference", "right"),
    [
        ("integer", "073", "73", True),
        ("integer", "73", "073", True),
        ("integer", "1,000", "1000", True),
        ("integer", "74", "73", False),
        ("integer", "-73", "73", False),
        ("integer", "73.5", "73", False),
        ("integer", "x", "x", False),
        ("exact", " two  words ", "two words", True),
        ("exact", "Two words", "two words", False),
        ("exact", "twowords", "two words", False),
        ("choice", "(c)", "C", True),
        ("choice", "C. because", "C", True),
        ("choice", "A", "C", False),
        ("choice", "a cat", "A", False),
        ("math", r"\dfrac{1}{2}", r"\frac{1}{2}", True),
        ("math", r"\frac12", r"\frac{1}{2}", True),
        ("math", r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})", True),
        ("math", r"$2\sqrt3$", r"2\sqrt{3}", True),
        ("math", r"\text{Evelyn}", "Evelyn", True),
        ("math", "1,000", "1000", True),
        ("math", "x^2 + 1", "x^2+1.", True),
        ("math", r"\frac{1}{3}", r"\frac{1}{2}", False),
        ("math", "x^2-1", "x^2+1", False),
        ("math", "100204", "100", False),
        ("math", "12", "1", False),
        ("math", " ", " ", False),
        ("math", "x" * (MAX_ANSWER + 1), "x" * (MAX_ANSWER + 1), False),
    ],
)
def test_same(kind: str, answer: str, reference: str, right: bool) -> None:
    assert same(kind, answer, reference) is right


def test_plain_keeps_commands_apart_from_letters() -> None:
    assert plain(r"\leftarrow x") == r"\leftarrowx"


PROBLEM = Problem("p1", "bench", "integer", "6*7?", "42")


def reply(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(text, finish_reason, 10, 20)


@pytest.mark.parametrize(
    ("text", "answer", "correct"),
    [
        (r"<think>hm</think>So \boxed{42}.", "42", True),
        (r"\boxed{42}", "42", True),
        (r"<think>\boxed{42}</think>I do not know.", None, False),
        (r"<think>\boxed{42}</think>\boxed{41}", "41", False),
        (r"<think>I guess \boxed{42}", None, False),
        (r"<think>a</think>b</think>\boxed{42}", "42", True),
        (r"first \boxed{1}, then \boxed{42}", "42", True),
        (r"first \boxed{42}, then \boxed{1}", "1", False),
        (r"\boxed{}", None, False),
        ("42", None, False),
        ("", None, False),
        (r"\boxed{\text{forty-two}}", r"\text{forty-two}", False),
    ],
)
def test_the_answer_is_what_follows_closed_reasoning(text: str, answer: str | None, correct: bool) -> None:
    graded = grade(PROBLEM, reply(text), "math")
    assert (graded.answer, graded.correct) == (answer, correct)


@pytest.mark.parametrize(
    ("text", "finish_reason", "correct", "error"),
    [
        (r"\boxed{42} and then it went on", "length", True, ""),
        ("<think>never closed", "length", False, "truncated"),
        ("no answer", "stop", False, ""),
    ],
)
def test_a_truncated_reply(text: str, finish_reason: str, correct: bool, error: str) -> None:
    made = attempt(PROBLEM, 3, reply(text, finish_reason), "math")
    assert (made.correct, made.error, made.finish_reason) == (correct, error, finish_reason)
    assert (made.problem_id, made.benchmark, made.index, made.completion_tokens) == ("p1", "bench", 3, 20)


def test_a_huge_answer_is_wrong_cut_and_quick() -> None:
    graded = grade(PROBLEM, reply("\\boxed{" + "4" * 1_000_000 + "}"), "math")
    assert graded.answer is not None
    assert (len(graded.answer), graded.correct) == (MAX_ANSWER, False)


HOSTILE = ["{" * 1900, "\\text{" * 330, "1 " * 990, "- " * 990, "a" * 1999, "1,111" * 390, "((" * 900]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_quick(text: str) -> None:
    for kind in ("integer", "choice", "math", "exact"):
        assert same(kind, text, "42") is False
