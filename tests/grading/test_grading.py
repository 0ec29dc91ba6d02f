"""Grading whole replies: right and wrong answers of each kind, where an answer is looked for, and failures."""

import asyncio
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from veridistill.errors import ConfigError
from veridistill.grading.compare.latex import MAX_ANSWER
from veridistill.grading.graders import Graders, attempt
from veridistill.grading.workers import Reply
from veridistill.records import Completion, Grade, Kind, Problem


def grades(cases: Sequence[tuple[Problem, str]]) -> list[Grade]:
    """All graded by one set of graders, side by side."""

    async def all_of_them() -> list[Grade]:
        async with Graders(workers=2) as graders:
            return list(await asyncio.gather(*(graders.grade(*case) for case in cases)))

    return asyncio.run(all_of_them())


def problem(kind: Kind, reference: str, options: tuple[str, ...] = ()) -> Problem:
    return Problem("p1", "bench", kind, "?", reference, options=options)


def graded_as(problem: Problem, response: str) -> Grade:
    return grades([(problem, response)])[0]


def wrong_ones(kind: Kind, table: Sequence[tuple[str, str, str]]) -> list[str]:
    """What is graded otherwise than the table says; the table's answers are boxed."""
    found = grades([(problem(kind, reference), rf"\boxed{{{answer}}}") for answer, reference, _ in table])
    assert len(table) >= 60
    return [
        f"{answer!r} for {reference!r} should be {outcome}: {grade}"
        for (answer, reference, outcome), grade in zip(table, found, strict=True)
        if grade.outcome != outcome
    ]


RIGHT, WRONG = "pass", "wrong"
INTEGER = [
    *(
        (answer, "73", RIGHT)
        for answer in ("73", "073", "0073", " 73 ", "73.", "73.0", "73.00", "+73", "$73$", r"\(73\)")
    ),
    *(
        (answer, "73", RIGHT)
        for answer in (r"\text{73}", r"\mathbf{73}", "x = 73", "n=73", r"73^\circ", r"73^{\circ}")
    ),
    *(
        (answer, "73", RIGHT)
        for answer in (r"\$73", r"73\%", "73 cm", r"73\text{ cm}", r"73\text{ cm}^2", "73 units")
    ),
    *(
        (answer, "73", RIGHT)
        for answer in (r"73\,", r"\ 73", r"\textbf{73}", r"\boxed{73}", "73 square units", r"\,73")
    ),
    *(
        (answer, "73", WRONG)
        for answer in ("74", "-73", "7", "3", "730", "37", "73.5", "73.01", "0.73", "7.3", "1/73")
    ),
    *(
        (answer, "73", WRONG)
        for answer in ("73/1", "7 3", "7,3", "73, 74", "72 or 73", "70+3", "x", "seventy-three")
    ),
    *(
        (answer, "73", WRONG)
        for answer in (r"\frac{73}{1}", "73x", r"73\pi", "73!", "73^2", "7.3e1", "73 million")
    ),
    *(
        (answer, "73", WRONG)
        for answer in ("().__class__", "int('73')", "2^{2^{2^{49}}}", "\x0073", "73\ud800", "٧٣")
    ),
    *((answer, "1234", RIGHT) for answer in ("1,234", "1{,}234", r"1\,234", "1 234", "01234")),
    *((answer, "1234", WRONG) for answer in ("1,23", "12,34", "1.234", "1234567", "1, 234")),
    *(
        (answer, "25", RIGHT)
        for answer in (
            "m+n = 25",
            "20 + 5 = 25",
            "25 = 5^2",
            r"25\text{ dollars per day}",
            r"25\,\text{km/h}",
            "AB = 25",
            r"25 \text{ miles/hour}",
            r"25\text{ more apples than oranges}",
        )
    ),
    *(
        (answer, "25", WRONG)
        for answer in (
            "24 = 25",
            "25 = 24",
            "x = 24, y = 25",
            "x, y = 25",
            "x < y = 25",
            "x = 24 or 25",
            "25 or x = 24",
            "25 = 5^2 = 24",
            r"25 \text{ per } 3",
            "=",
            "m+n=26",
            "25 percent of x",
        )
    ),
    ("0", "0", RIGHT),
    ("000", "0", RIGHT),
    ("-0", "0", RIGHT),
    ("-5", "-5", RIGHT),
    ("−5", "-5", RIGHT),
    ("5", "-5", WRONG),
    ("999", "999", RIGHT),
    ("9" * 300, "9" * 300, RIGHT),
    ("9" * 300, "9" * 299, WRONG),
]


def test_integers() -> None:
    assert wrong_ones("integer", INTEGER) == []


EXACT = [
    *(
        (answer, "Paris", RIGHT)
        for answer in ("Paris", "paris", "PARIS", " Paris ", "Paris.", "**Paris**", '"Paris"')
    ),
    *(
        (answer, "Paris", RIGHT)
        for answer in (r"\text{Paris}", r"$\text{Paris}$", "`Paris`", "“Paris”", r"\textbf{Paris}")
    ),
    *(
        (answer, "Paris", WRONG)
        for answer in ("Pari", "Paris, France", "in Paris", "Paris or Rome", "London", "P aris")
    ),
    *(
        (answer, "Paris", WRONG)
        for answer in ("not Paris", "Parisian", "Paris Paris", "Par is", "sirap", "Paris?", "()")
    ),
    *(
        (answer, "two words", RIGHT)
        for answer in ("two words", "Two Words", "two  words", r"two\ words", "Two words")
    ),
    *(
        (answer, "two words", WRONG)
        for answer in ("twowords", "words two", "two", "two words more", "two-words", "a two words")
    ),
    *((answer, "42", RIGHT) for answer in ("42", "42.0", "042", "$42$", "+42", "42.")),
    *(
        (answer, "42", WRONG)
        for answer in ("43", "-42", "42 or 43", "4 2", "42 cm", "420", "4.2", "forty-two")
    ),
    *((answer, "Co", WRONG) for answer in ("CO", "cO", "C", "Cobalt", "Co2")),
    ("Co", "Co", RIGHT),
    ("NaCl", "NaCl", RIGHT),
    ("1,000", "1000", RIGHT),
    ("0.50", "0.5", RIGHT),
    ("1/2", "0.5", RIGHT),
    ("0.333", "1/3", WRONG),
    ("x^2 + 1", "x^2+1", RIGHT),
    (r"\dfrac12", r"\frac{1}{2}", RIGHT),
    ("x^2-1", "x^2+1", WRONG),
    ("ﬁne", "fine", RIGHT),
    ("Ｐａｒｉｓ", "Paris", RIGHT),
    ("yes", "Yes", RIGHT),
    ("no", "Yes", WRONG),
    ("E=mc^2", "E = mc^2", RIGHT),
]


def test_exact_matches() -> None:
    assert wrong_ones("exact", EXACT) == []


OPTIONS = ("12 cm", "a dog", "three apples", r"\frac{1}{2}")
CHOICE: list[tuple[str, str | None]] = [
    *(
        (rf"\boxed{{{inside}}}", "B")
        for inside in ("B", "b", "(B)", "[B]", "B.", "B)", "**B**", r"\text{B}", r"\text{(B)}")
    ),
    *(
        (rf"\boxed{{{inside}}}", "B")
        for inside in (r"\textbf{(B)}", r"\mathrm{B}", "$B$", "option B", "Option (B)", "Answer: B")
    ),
    *(
        (rf"\boxed{{{inside}}}", "B")
        for inside in ("(B) a dog", "B. a dog", "B: a dog", "a dog", r"\text{a dog}", "A dog")
    ),
    *(
        (rf"\boxed{{{inside}}}", "A")
        for inside in ("A", "a", "12 cm", "(A) 12 cm", r"12 \text{ cm}", "A) 12 cm")
    ),
    *((rf"\boxed{{{inside}}}", "D") for inside in (r"\frac{1}{2}", r"\dfrac{1}{2}", r"(D)\ \frac12", "D")),
    *(
        (line, "C")
        for line in (
            "Answer: C",
            "**Answer: (C)**",
            "Answer: **C**",
            "answer is C.",
            "The correct answer is C.",
        )
    ),
    *(
        (line, "C")
        for line in (
            "**The correct answer is C**",
            "So the final answer is (C).",
            "The answer is (c)",
            "### Answer: C",
        )
    ),
    *(
        (line, "C")
        for line in (
            "Therefore, the correct option is C.",
            "> Answer: C",
            "Answer：C",
            "Final Answer: $C$",
            "C",
            "(C)",
        )
    ),
    *(
        (line, "C")
        for line in (
            "**C.**",
            "Answer: three apples",
            "The answer is C. three apples",
            "- Answer: C",
            r"Answer: \text{C}",
        )
    ),
    *(
        (line, "C")
        for line in (
            "A is wrong.\n\nAnswer: C",
            "Answer: A\nNo, wait.\nAnswer: C",
            "Answer: C\n\n\n",
            r"Answer: B. \boxed{C}",
        )
    ),
    *(
        (line, "C")
        for line in (
            "Answer: C\n\nThis is because three apples weigh most.",
            "**Answer: C**\n\nExplanation: a dog weighs less, and 12 cm is a length.",
            "The correct answer is C.\nThe apples are three.",
            "So the answer is (C)\n\nA is a length.\nB is an animal.\nD is a number.",
            "Answer: C, because there are three of them.",
            "The answer is C since there are three.",
            "Answer: C – there are three.",
            "Answer: (C); the rest is no fruit.",
            "First, A?\nAnswer: C\nThe fruit counts.",
            "Answer: C\nThe other options are wrong.",
            "Answer: C\n\nThe answer follows from the second law.",
            "Answer: C\nThis is the only answer consistent with the data.",
            "Answer: C\nso this option fits.",
            "Answer: B. No wait, the answer is C",
        )
    ),
    *(
        (line, None)
        for line in (
            "Answer: C\nWait, the dog is heavier.",
            "Answer: C\nHowever, I would rather say B.",
            "Answer: C\nOn reflection the answer is B\nfor the reasons above.",
            "Answer: C\nOn reflection, option (B) fits better.\nThe dog is heavy.",
            "Answer: C\nActually B is correct here.",
            "Answer: C\nNo, B.",
            "Answer: C\nThe right answer must be B.",
            "Answer: C\nThe answer is both C and D.",
            "Answer: C\nThe answer is a dog for sure.",
            "Answer: C\nThe answer is E.",
            "Answer: C\nThe answer is not clear.",
            "Answer: C or B, because both fit.",
            "Answer: C, or B.",
            "Answer: C, but B is possible.",
            "Answer: C, although B seems right.",
            "Answer: E\nBecause of the fifth.",
            "The answer is a\nbecause it is one.",
        )
    ),
    *(
        (line, None)
        for line in (
            "A dog",
            "a",
            "I like a dog",
            "It is a",
            "The answer is a dog with A tail",
            "The answer is a",
        )
    ),
    *(
        (line, None)
        for line in (
            "A or B",
            "Answer: A or B",
            "Answer: A and C",
            "The answer is not B",
            "Answer: E",
            "Answer: Z",
        )
    ),
    *(
        (line, None)
        for line in (
            "Answer: A\nBut I am not sure.",
            "A. 12 cm\nB. a dog",
            "Answer:\nB. a cat",
            "No answer fits.\nB. a dog",
            "i.e. five",
            "",
            "Answer:",
            "AB",
            "Answer: 5",
        )
    ),
    *(
        (line, None)
        for line in (
            "<think>Answer: C</think>I do not know",
            "<think>Answer: C",
            r"<think>\boxed{C}</think>",
            "Plan B it is",
        )
    ),
    *(
        (rf"\boxed{{{inside}}}", None)
        for inside in ("E", "AB", "A, B", "A or B", "not B", "12", "(C) a dog", "5", "i.e. B")
    ),
]


def test_choices() -> None:
    assert len(CHOICE) >= 60
    found = grades([(problem("choice", "C", OPTIONS), response) for response, _ in CHOICE])
    for (response, letter), grade in zip(CHOICE, found, strict=True):
        given = grade.answer if grade.answer in ("A", "B", "C", "D") else None
        assert given == letter, (response, grade)
        assert (grade.outcome == "no_answer") == (grade.answer is None)
        assert grade.correct == (letter == "C"), (response, grade)


SPEAKING = ("one", "more is needed to answer this question", "the last option", "the choice is free")


@pytest.mark.parametrize(
    ("line", "letter"),
    [
        ("Answer: B. more is needed to answer this question", "B"),
        ("**The answer is (B) more is needed to answer this question**", "B"),
        ("Answer: C. the last option", "C"),
        ("Answer: D) the choice is free", "D"),
        ("Answer: C. more is needed to answer this question", None),
    ],
)
def test_an_option_that_speaks_of_answers_and_options(line: str, letter: str | None) -> None:
    assert graded_as(problem("choice", "B", SPEAKING), line).answer == letter


def test_an_option_below_a_heading() -> None:
    headings = ("### Answer", "**Final Answer:**", "So the correct option is:", "### The answer is:\n")
    cases = [(problem("choice", "B", OPTIONS), f"{heading}\n**B. a dog**") for heading in headings]
    assert [grade.outcome for grade in grades(cases)] == ["pass"] * len(cases)


def test_ten_options_no_options_and_equal_options() -> None:
    ten = tuple(f"value {n}" for n in range(10))
    cases = [
        (problem("choice", "J", ten), r"\boxed{J}", "pass"),
        (problem("choice", "J", ten), r"\boxed{value 9}", "pass"),
        (problem("choice", "J", ten), r"\boxed{K}", "wrong"),
        (problem("choice", "E"), r"\boxed{E}", "pass"),
        (problem("choice", "(E)"), "Answer: E", "pass"),
        (problem("choice", "A", ("same", "same")), r"\boxed{same}", "wrong"),
        (problem("choice", "A", ("B", "A")), r"\boxed{A}", "pass"),
        (problem("choice", "E", ("x", "y")), r"\boxed{A}", "unreadable_reference"),
        (problem("choice", "y", ("x", "y")), r"\boxed{B}", "pass"),
    ]
    found = grades([case[:2] for case in cases])
    assert [grade.outcome for grade in found] == [outcome for *_, outcome in cases]


# One a line: `answer == reference` is right, `answer != reference` is wrong.
MATH_LINES = r"""
# numbers
5 == 5
5.0 == 5
6 != 5
0.5 == \frac{1}{2}
1/2 == \frac12
\dfrac{2}{4} == \frac{1}{2}
0.333 != \frac13
0.3333333 == \frac13
0.3333334 != \frac13
0.\overline{3} == \frac13
-\frac12 == \frac{-1}{2}
\frac{1}{2} != -\frac12
1,234 == 1234
1\,234 == 1234
2\frac{1}{2} == 2.5
2\frac12 != 1
1 3/4 == \frac74
3.14159 == \pi
3.1416 != \pi
3.141593 == \pi
3.14 != \pi
\frac{22}{7} != \pi
100204 != 100
2^{10} == 1024
5! == 120
\binom{6}{3} == 20
0.0000001 != 0.0000002
\frac{1}{3^{50}} != \frac{1}{3^{49}}
\frac{3}{3^{50}} == \frac{1}{3^{49}}
3^{2024} == 3\cdot 3^{2023}
3^{2024}+1 != 3^{2024}
3.5\times 10^4 == 35000
\infty == +\infty
# roots, constants, functions
\sqrt{8} == 2\sqrt{2}
\sqrt8 == 2\sqrt2
\frac{1}{\sqrt3} == \frac{\sqrt{3}}{3}
\sqrt{2} != \sqrt{3}
\frac{2}{3}\pi == \frac{2\pi}{3}
120^\circ == 120
\sin 30^\circ == \frac12
e^{i\pi} == -1
\frac12\ln 2 == \ln\sqrt2
\log_2 8 == 3
\sqrt[3]{2} == 2^{1/3}
3+2i == 2i+3
3-2i != 3+2i
\frac\pi4 == \arctan\frac12+\arctan\frac13
\sum_{k=1}^{10}k == 55
\sum_{k=1}^{\infty}\frac{1}{k^2} == \frac{\pi^2}{6}
\int_0^1 e^{-x^2}\,dx != \frac{\sqrt\pi}{2}
\int_0^1 x\,dx == \frac12
\cot 15^\circ == 2+\sqrt3
\left\lfloor\frac72\right\rfloor == 3
\sqrt\pi == \pi^{1/2}
# expressions, equations, inequalities
(x+1)^2 == x^2+2x+1
(x+1)^2 != x^2+1
x = 5 == 5
5 == x=5
y=5 != x=5
a != A
x^2+y^2=1 != 1
2x=4 == x=2
y=2x+3 == 2x-y+3=0
y=2x+4 != y=2x+3
2x+3 == y=2x+3
x^2+1=0 != x^2+2=0
x>5 == (5,\infty)
x\ge5 != (5,\infty)
n! == n(n-1)!
\frac{n(n-1)}{2} == \binom n2
x=1/2=0.5 == \frac12
2+3=5 == 5
\sin^2 x == 1-\cos^2 x
\frac{x^2-1}{x-1} == x+1
# tuples, sets, intervals, lists
(1,2) == (1, 2)
(2,1) != (1,2)
(\frac12,\sqrt4) == (0.5,2)
\{1,2\} == \{2,1\}
\{1,2\} != (1,2)
(1,2) != \{1,2\}
[1,2) == [1,2)
[1,2] != [1,2)
[\frac24,2) == [0.5,2)
2, 1 == 1,2
1 != 1,2
1,2,3 != 1,2
x=1 \text{ or } x=2 == 1, 2
\pm 2 == -2, 2
1\pm\sqrt2 == 1+\sqrt2, 1-\sqrt2
2 != \pm 2
\{5\} == 5
(3,4),(1,2) == (1,2),(3,4)
(4,3),(1,2) != (1,2),(3,4)
(-\infty,1)\cup(2,\infty) == (2,\infty)\cup(-\infty,1)
(-\infty,1]\cup(2,\infty) != (2,\infty)\cup(-\infty,1)
\left(3,\frac{\pi}{2}\right) == (3,\pi/2)
\mathbb{R}\setminus\{3\} == (-\infty,3)\cup(3,\infty)
100, 200 == 100,200
\begin{pmatrix}1&2\\3&4\end{pmatrix} == \begin{bmatrix}1&2\\3&4\end{bmatrix}
\begin{pmatrix}1\\2\end{pmatrix} != \begin{pmatrix}1\\3\end{pmatrix}
x\in\{1,2\} == \{1,2\}
-1<x<1 == (-1,1)
(-1,1) == -1<x<1
(-1,2) != -1<x<1
\varnothing == \emptyset
\begin{pmatrix} 1 \\ \frac{1}{2} \end{pmatrix} == \begin{pmatrix} 1 \\ 0.5 \end{pmatrix}
\begin{bmatrix} 1 & 0 \\ 0 & 1\end{bmatrix} == \begin{pmatrix}1&0\\0&1\end{pmatrix}
# what a parser would read otherwise than it is written
1 2 != 12
3 4 != 12
5. 5 != 5.5
5' != 5
5_2 != 5
4210_{7} == 4210_7
4210 == 4210_7
4210_8 != 4210_7
2^3^2 != 64
AB != BA
cat != act
6=5 != 5
x=6=5 != 5
1_000 != 1000
1.000 != 1000
5 \neq 6 != 5
\approx 6 != 5
# units, percent, words
\text{12 cm} == 12
5\text{ million} != 5
5\text{x} != 5
€5 == 5
5\text{ m/s} != 5\text{ m}
30^\circ != \frac{\pi}{6}
5\text{ cm} == 5
5 == 5\text{ cm}
5\text{ m} != 5\text{ cm}
12\text{ cm}^2 == 12
12\text{ inches} == 12\text{ inch}
50\% == 0.5
50\% == 50
0.5 != 50
5\% != 50\%
\$18.50 == 18.5
3\sqrt2\text{ units} == 3\sqrt{2}
\text{Evelyn} == Evelyn
\text{even} != \text{odd}
\text{(C)} == C
D != \text{(C)}
June 20 == \text{June 20}
god != dog
# units: a label where the other side has none
12\text{ N} == 12
12\text{ V} == 12
12\text{ J} == 12
12\text{ K} == 12
12\text{ W} == 12
12\text{ A} == 12
12\,\mathrm{N} == 12
12\text{ kN} == 12
12\text{ mol/L} == 12
9.8\text{ m/s}^2 == 9.8
9.8\,\mathrm{m}\,\mathrm{s}^{-2} == 9.8
9.8\,\text{m}\cdot\text{s}^{-2} == 9.8
5\frac{\text{m}}{\text{s}} == 5
10\ \mu\text{m} == 10
5\text{ k}\Omega == 5
3\text{ apples} == 3
3\text{ red apples} == 3
3 apples == 3
7 square units == 7
3 cm == 3
3 m/s == 3
1,234\text{ cm} == 1234
1{,}234\text{ km/h} == 1234
1,234.5 == 1234.5
1,234.5 == 1, 234.5
€1,234 == 1234
\$1,234.50 == 1234.5
5€ == 5
\text{\$5} == 5
\$5+\$6 == 11
25^\circ\text{C} == 25
\frac{3}{4}\text{ mi} == 0.75
2\sqrt3\text{ N} == \sqrt{12}
13\text{ N} != 12
# units: letters that are factors or variables
12\text{ N} == 12N
12N == 12\text{ N}
12N != 12
12 N != 12
12 != 12N
3 m == 3m
3 m != 3
3 m == 3\text{ m}
6 m != 3m
\frac{m}{3}\text{ m} == \frac{m}{3}
3 ab != 3
3 xyz != 3
2\mathrm{e} != 2
2\mathrm{x} != 2
m s == s m
5\text{ hundred} != 5
5\text{ dozen} != 5
# units: another of the same quantity
500\text{ cm} == 5\text{ m}
500 cm == 5\text{ m}
5\text{ m} == 500\text{ cm}
5\text{ m} != 5\text{ cm}
5\text{ cm} == 5\text{ centimeters}
5\text{ Metres} == 5\text{ m}
0.5\text{ km} == 500\text{ m}
1000\text{ nm} == 1\ \mu\text{m}
5\text{ mW} != 5\text{ MW}
90\text{ km/h} == 25\text{ m/s}
90\text{ km per hour} == 25\text{ m/s}
60\text{ mph} == 88\text{ ft/s}
60\text{ miles per hour} == 60\text{ mph}
25\text{ m/s} != 25\text{ km/h}
9.8\text{ m/s}^2 == 980\text{ cm/s}^2
9.8\,\text{m}\,\text{s}^{-2} == 9.8\text{ m/s}^2
10^4\text{ cm}^2 == 1\text{ m}^2
12\text{ sq ft} == 12\text{ square feet}
1\text{ m}^3 == 1000\text{ L}
250\text{ mL} == 250\text{ cm}^3
2\text{ h} == 120\text{ min}
2\text{ hours} == 7200\text{ s}
90\text{ minutes} == 1.5\text{ hr}
2\text{ days} == 48\text{ hours}
24\text{ months} == 2\text{ years}
30\text{ days} != 1\text{ month}
2.5\text{ kg} == 2500\text{ g}
16\text{ oz} == 1\text{ lb}
1\text{ tonne} == 1000\text{ kg}
3\text{ ft} == 1\text{ yd}
36\text{ inches} == 3\text{ feet}
1\text{ in} == 2.54\text{ cm}
3.28084\text{ ft} == 1\text{ m}
3.28\text{ ft} != 1\text{ m}
4\text{ quarts} == 1\text{ gallon}
77^\circ\text{F} == 25^\circ\text{C}
25\text{ degrees Celsius} == 25^\circ C
298.15\text{ K} == 25^{\circ}\mathrm{C}
25^\circ == 25^\circ\text{C}
25\text{ C} == 25^\circ\text{C}
25\text{ K} != 25^\circ\text{C}
77^\circ\text{F} != 77^\circ\text{C}
30^\circ == \frac{\pi}{6}\text{ rad}
\frac{\pi}{6}\text{ radians} == 30^\circ
0.523599\text{ rad} == 30^\circ
0.52\text{ rad} != 30^\circ
2\text{ revolutions} == 720^\circ
\frac{\pi}{3}\text{ rad} != 30^\circ
1\text{ J} == 1\text{ N}\cdot\text{m}
3.6\text{ MJ} == 1\text{ kWh}
2\text{ kPa} == 2000\text{ N/m}^2
1\text{ cal} == 4.184\text{ J}
50\sqrt3\text{ cm} == \frac{\sqrt3}{2}\text{ m}
50\sqrt3\text{ m} != \frac{\sqrt3}{2}\text{ m}
2x\text{ m} == 200x\text{ cm}
\$5 == 500\text{ cents}
5\text{ dollars} == \$5
5\text{ cents} != \$5
€5 != \$5
(100\text{ cm}, 2) == (1\text{ m}, 2)
1\text{ m}, 2\text{ m} == 200\text{ cm}, 100\text{ cm}
# units: of different quantities, and labels that differ
5\text{ m/s} != 5\text{ m}
5\text{ N} != 5\text{ J}
5\text{ kg} != 5\text{ m}
5\text{ s}^{-1} == 5\text{ Hz}
3\text{ apples} != 3\text{ pears}
3\text{ apples} == 3\text{ apple}
3\text{ apples} != 3\text{ m}
50\% != 50\text{ cm}
50\text{ percent} == 50\%
50\% != 0.5\text{ m}
# as models write them
60\text{ degrees} == 60^\circ
45^{\circ} == 45 \text{ degree}
\frac12 ab == \frac{ab}{2}
3 xy == 3xy
3 yz != 3xy
\frac12 cm == \frac12
\begin{pmatrix} 1 \\[4pt] \frac{2}{3} \\ 5 \end{pmatrix} == \begin{pmatrix} 1 \\ 2/3 \\ 5 \end{pmatrix}
\{\} == \emptyset
\{0\} != \emptyset
-2 \le x \le 7 == x \in [-2,7]
-2 \le x < 7 != x \in [-2,7]
(-\infty,-1)\cup(3,\infty) == x<-1 \text{ or } x>3
x<-1 \text{ or } x>3 == (-\infty,-1)\cup(3,\infty)
x<-1 \text{ or } x\ge 3 != (-\infty,-1)\cup(3,\infty)
x<-1 != (-\infty,-1)\cup(3,\infty)
-1, 3 != (-\infty,-1)\cup(3,\infty)
\approx 1.41421356 == \sqrt{2}
\approx 1.41 != \sqrt{2}
AB = \frac{5}{6} == \frac{5}{6}
AB = 5 != 6
AB = 5 != BC = 5
\angle ABC = 30^\circ == 30
\text{Area} = 12\text{ cm}^2 == 12
|S| = 10 == 10
x > 2 == \{x \mid x>2\}
\{x \in \mathbb{R} : 1\le x\le 3\} == [1,3]
\{x : 1\le x < 3\} != [1,3]
x < 2 != \{x \mid x>2\}
nRT != PV = nRT
nRT = PV == PV = nRT
"""
HOSTILE = [
    ("().__class__.__bases__[0]", "1", WRONG),
    ("__import__('os').system('true')", "0", WRONG),
    ("2^{2^{2^{49}}}", "3", WRONG),
    ("10^{10^{10}}", "7", WRONG),
    ("(10^9)!", "4", WRONG),
    ("1\x00", "2", WRONG),
    ("5\ud800", "5", WRONG),
    ("(" * 500, "1", WRONG),
    (r"\sqrt{" * 300 + "2" + "}" * 300, "2", WRONG),
    ("1,2," * 400, "1", WRONG),
    ("9" * 1500, "9" * 1499, WRONG),
    ("x" * 1900, "y", WRONG),
    (r"\frac" * 300, "1", WRONG),
    ("^" * 900, "1", WRONG),
    ("eval('5')", "5", WRONG),
    ("True", "1", WRONG),
    ("1 == 1", "1", WRONG),
    ("5;5", "5", WRONG),
]


def read(line: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"(.*?) (==|!=) (.*)", line)
    assert found is not None, line
    return found[1], found[3], RIGHT if found[2] == "==" else WRONG


MATH = [read(line) for line in MATH_LINES.split("\n") if line and line[0] != "#"]


def test_mathematics() -> None:
    assert wrong_ones("math", MATH + HOSTILE) == []


def test_what_cannot_be_compared_is_wrong_and_says_why() -> None:
    slow = r"\int_0^1 \sin(\sin(\sin(x^{x^x})))^{\cos(x^x)}\,dx + \sum_{k=1}^{90000000} \frac{1}{k^k}"
    table = [
        (r"\boxed{2^{2^{2^{49}}}}", "3", "wrong", "not compared: an exponent above 20000"),
        (rf"\boxed{{{slow}}}", "3", "wrong", "not compared"),
        (r"\boxed{().__class__}", "1", "wrong", "the answer cannot be read as mathematics"),
        ("\\boxed{" + "4" * 1_000_000 + "}", "4", "wrong", "longer than the 2,000"),
    ]
    found = grades([(problem("math", reference), response) for response, reference, *_ in table])
    for (response, _, outcome, error), grade in zip(table, found, strict=True):
        assert (grade.outcome, error in grade.error) == (outcome, True), (response[:40], grade.error)
        assert len(grade.answer or "") <= MAX_ANSWER


UNREADABLE = [
    (problem("math", r"\foo{"), "cannot be read as mathematics"),
    (problem("math", r"1, \frac{2}"), "cannot be read as mathematics"),
    (problem("math", r"\sqrt{"), "cannot be read as mathematics"),
    (problem("math", "5" * 3000), "longer than the 2,000"),
    (problem("integer", "12.5"), "no integer"),
    (problem("choice", "E", ("x", "y")), "no option"),
    (problem("exact", "x" * 3000), "longer than the 2,000"),
    (problem("exact", "``"), "is empty"),
]
SLOW = r"\sum_{k=1}^{90000000} \frac{1}{k^k}"


@pytest.mark.parametrize(("unreadable", "why"), UNREADABLE)
def test_a_problem_whose_reference_cannot_be_read_leaves_as_a_whole(unreadable: Problem, why: str) -> None:
    """Its exact text as the answer, another answer, no answer, and a sample that the engine refused."""
    answers = (rf"\boxed{{{unreadable.reference}}}", r"\boxed{7}", r"\boxed{A}", "I do not know.")

    async def found() -> list[Grade]:
        async with Graders(workers=1) as graders:
            given = [await graders.grade(unreadable, answer) for answer in answers]
            return [*given, await graders.refused(unreadable, "too long")]

    for grade in asyncio.run(found()):
        assert (grade.outcome, grade.correct, why in grade.error) == ("unreadable_reference", None, True), (
            grade
        )


@pytest.mark.parametrize(
    "reference",
    ["5", r"\sqrt2", "Evelyn", r"\text{(C)}", "4210_7", "AB", r"x^2+y^2=1", r"(1, \frac{\pi}{2})", "1, 2",
     r"x \in [0,1)", r"(-\infty,1)\cup(2,\infty)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"50\sqrt3\text{ cm}",
     r"\$18.50", r"30^\circ", r"\{x \mid x>2\}", r"\emptyset", r"1\pm\sqrt2", r"2^{2^{2^{49}}}", r"f(x)=2x",
     r"\frac{1}{2}ab", SLOW],
)  # fmt: skip
def test_a_reference_that_can_be_read_is_none_of_these(reference: str) -> None:
    assert graded_as(problem("math", reference), r"\boxed{77}").outcome == "wrong"


def test_a_reference_is_probed_once_for_all_of_its_answers() -> None:
    async def probed() -> list[tuple[str, ...]]:
        async with Graders(workers=2) as graders:
            asked: list[tuple[str, ...]] = []
            ask = graders._algebra._workers.ask

            async def counting(question: Sequence[str]) -> Reply:
                asked.append(tuple(question))
                return await ask(question)

            graders._algebra._workers.ask = counting  # type: ignore[method-assign]
            answered = [r"\boxed{\sqrt3}", r"\boxed{\sqrt5}", "nothing", r"\boxed{\sqrt2}"] * 3
            await asyncio.gather(*(graders.grade(problem("math", r"\sqrt2"), one) for one in answered))
            return asked

    assert [one for one in asyncio.run(probed()) if len(one) == 1] == [(r"\sqrt2",)]


def test_boxes_are_never_joined() -> None:
    assert graded_as(problem("math", "100204"), r"\boxed{100} and \boxed{204}").outcome == "wrong"
    assert graded_as(problem("math", "204"), r"\boxed{100} and \boxed{204}").outcome == "pass"
    assert graded_as(problem("integer", "100204"), r"\boxed{100} and \boxed{204}").outcome == "wrong"


BOXES = [
    (r"\boxed{1} and \boxed{2}", "1, 2", RIGHT),
    (r"The values are $\boxed{2}$, $\boxed{1}$.", "1, 2", RIGHT),
    (r"\boxed{\sqrt2}, \boxed{-\sqrt2}", r"\pm\sqrt2", RIGHT),
    (r"\boxed{x=1} or \boxed{x=2}", r"\{1, 2\}", RIGHT),
    ("First \\boxed{7}.\nSo \\boxed{1} and \\boxed{2}\nas claimed.", "1, 2", RIGHT),
    (r"Since \boxed{1} works, it is \boxed{1, 2}", "1, 2", RIGHT),
    (r"\boxed{1, 2}", "1, 2", RIGHT),
    (r"\boxed{1} and \boxed{3}", "1, 2", WRONG),
    (r"\boxed{1} and \boxed{2} and \boxed{3}", "1, 2", WRONG),
    ("\\boxed{1}\n\\boxed{2}", "1, 2", WRONG),
    (r"\boxed{1} and \boxed{2}", "(1, 2)", WRONG),
    (r"\boxed{1} and \boxed{2}", "2", RIGHT),
    (r"\boxed{1} and \boxed{2}", "12", WRONG),
    (r"\boxed{\boxed{1}} and \boxed{2}", "1, 2", RIGHT),
    (r"\boxed{1, \boxed{2}}", "1, 2", WRONG),
]


def test_the_boxes_of_one_line_are_a_list_where_a_list_is_asked_for() -> None:
    found = grades([(problem("math", reference), reply) for reply, reference, _ in BOXES])
    assert [(g.outcome, g.answer) for g in found if g.outcome not in (RIGHT, WRONG)] == []
    assert [g.outcome for g in found] == [outcome for *_, outcome in BOXES], found


def test_programs_run_only_when_allowed() -> None:
    code = Problem("p", "lcb_v6", "code", "?", "", "code", tests="[]")

    async def checked() -> None:
        async with Graders() as graders:
            graders.check([problem("integer", "1")])
            with pytest.raises(ConfigError, match=r"lcb_v6 .*--allow-code-execution"):
                graders.check([problem("integer", "1"), code])
            with pytest.raises(ConfigError, match="--allow-code-execution"):
                await graders.grade(code, "```python\nprint(1)\n```")

    asyncio.run(checked())


PROBLEM = problem("integer", "42")


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
    graded = graded_as(PROBLEM, text)
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
    made = attempt(PROBLEM, 3, reply(text, finish_reason), graded_as(PROBLEM, text))
    assert (made.correct, made.error, made.finish_reason) == (correct, error, finish_reason)
    assert (made.problem_id, made.benchmark, made.index, made.completion_tokens) == ("p1", "bench", 3, 20)


def test_a_huge_answer_is_wrong_cut_and_quick() -> None:
    graded = graded_as(PROBLEM, "\\boxed{" + "4" * 1_000_000 + "}")
    assert graded.answer is not None
    assert (len(graded.answer), graded.correct) == (MAX_ANSWER, False)


def test_the_benchmark_grades_what_it_made_as_it_knows() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "grading.py"
    spec = importlib.util.spec_from_file_location("grading_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    try:
        spec.loader.exec_module(benchmark)
        chosen = [case for case in benchmark.cases(400) if "9999" not in case.answer]
        found = asyncio.run(benchmark.measured(chosen, 2))
    finally:
        del sys.modules[spec.name]
    assert found["misgraded"] == []
    assert (found["answers"], found["workers"]) == (len(chosen), 2)
    assert 0 < found["needed_worker"] < 0.3
