"""Comparison by tables: right and wrong answers of each kind."""

import pytest

from veridistill.grading.compare.comparison import same
from veridistill.grading.compare.latex import MAX_ANSWER, plain
from veridistill.grading.compare.reading import choice, integer

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
        ("exact", "Two words", "two words", True),
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
        ("math", "x^2-1", "x^2+1", None),
        ("math", "100204", "100", False),
        ("math", "12", "1", False),
        ("math", " ", " ", None),
        ("math", "x" * (MAX_ANSWER + 1), "x" * (MAX_ANSWER + 1), False),
    ],
)
def test_same(kind: str, answer: str, reference: str, right: bool | None) -> None:
    assert same(kind, answer, reference) is right


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("2", "2 hours", True),
        ("120 minutes", "2 hours", True),
        ("3", "3 apples", True),
        ("3 apples", "3 apples", True),
        ("500 centimeters", "5 meters", True),
        (r"\$25", "25 dollars", True),
        (r"90^\circ", "90 degrees", True),
        ("12", "12 units", True),
        ("3 pears", "3 apples", False),
        ("4", "3 apples", False),
        ("7", "7 January 2020", False),
        ("7", "7 January", False),
        ("3", "3 hundred", False),
        ("Evelyn", "Evelyn", True),
    ],
)
def test_a_reference_may_have_a_word_as_its_unit(answer: str, reference: str, right: bool) -> None:
    assert same("math", answer, reference) is right


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ("pi", False),
        ("factorial", False),
        ("sqrt 2", False),
        ("infinity", False),
        ("is not the answer", False),
        ("is wrong", False),
        ("incorrect", False),
        ("million euros", False),
        ("dozen eggs", False),
        ("apples", True),
        ("pints", True),
        ("maybes", True),
        ("minutes", True),
    ],
)
def test_words_that_change_a_number_are_no_label(words: str, label: bool) -> None:
    assert (same("math", rf"3\text{{ {words}}}", "3") is True) is label


def test_plain_keeps_commands_apart_from_letters() -> None:
    assert plain(r"\leftarrow x") == r"\leftarrowx"


HOSTILE = [
    "a" + " " * 1990 + "b",
    "\\ " * 990,
    "and " * 480,
    "aaaa " * 390,
    "^" * 1900,
    "\\frac{" * 320,
    "{" * 1900,
    "\\text{" * 330,
    "1 " * 990,
    "- " * 990,
    "a" * 1999,
    "1,111" * 390,
    "((" * 900,
    r"\text{a} " * 220 + "!",
    r"5\text{a}/" * 180 + "!",
    "5 " + "a " * 990 + "!",
    "5 " + "ab /" * 490,
    r"\frac{\text{a}}{\text{b}}" * 80 + "!",
    r"\$ " * 600,
    "5^" + r"\circ" * 330 + "!",
    r"5\text{" + "m^2 " * 400 + "}",
    r"5\text{m}" + " " * 1900 + "!",
    r"5\text{ m} \cdot " * 100 + "!",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_quick(text: str) -> None:
    for reference in ("42", r"42\text{ m}", "41, 42"):
        for kind in ("integer", "choice", "math", "exact"):
            assert not same(kind, text, reference)
