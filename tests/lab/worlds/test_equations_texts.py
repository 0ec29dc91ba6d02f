"""Reference replies: their work is read back and recomputed, every label checked."""

import random
import re

import pytest

from veridistill.decide import read_verdict, split
from veridistill.lab.worlds import EQUATIONS
from veridistill.lab.worlds.equations import flaws, texts
from veridistill.lab.worlds.equations.questions import Equation, parse
from veridistill.lab.worlds.world import Mix, Sample, Skill, split_of
from veridistill.records import Completion

JUDGES: tuple[Skill, ...] = ("compare", "factuality", "correctness", "simple")
STATED = re.compile(r"(\d+)x\+(\d+)=(\d+), so x=\\boxed\{(\d+)\}")


def samples(skill: Skill, num: int = 400) -> list[Sample]:
    rng = random.Random(f"test:{skill}")
    mixes: tuple[Mix | None, ...] = (None, "hard")
    return [EQUATIONS.sample(rng, skill, mix) for mix in mixes for _ in range(num // 2)]


def block(prompt: str, name: str) -> str:
    return prompt.partition(f"[{name}]\n")[2].partition(f"\n[/{name}]")[0]


def completion(reply: str) -> Completion:
    return Completion(text=reply, token_ids=(), prompt_token_ids=(), finish_reason="stop",
                      prompt_tokens=0, completion_tokens=0)  # fmt: skip


def test_solutions_recompute() -> None:
    for one in samples("solve"):
        question = parse(one.prompt.split("\n")[0])
        assert question is not None
        assert split_of(question.key) == "post_train"
        reasoning, answer = split(one.reply).reasoning, split(one.reply).answer
        assert reasoning is not None
        first, columns, steps = reasoning.split("\n")
        assert first == f"{question.a}x={question.c}-{question.b}"
        assert _difference(columns) == question.c - question.b
        assert _quotient(steps, question.a) == question.x
        assert STATED.fullmatch(answer).groups() == tuple(  # type: ignore[union-attr]
            map(str, (question.a, question.b, question.c, question.x))
        )


def _difference(columns: str) -> int:
    borrow, digits = 0, ""
    for top, bottom, result, mark in re.findall(r"(\d)-(\d)=(\d)([,'])", columns):
        value = int(top) - int(bottom) - borrow
        borrow = int(mark == "'")
        assert value + 10 * borrow == int(result)
        digits = result + digits
    assert borrow == 0
    return int(digits)


def _quotient(steps: str, a: int) -> int:
    rest, digits = 0, ""
    for before, digit, quotient in re.findall(r"(\d)(\d)=(\d),", steps):
        assert int(before) == rest
        value = 10 * rest + int(digit)
        rest = value - a * int(quotient)
        assert 0 <= rest < a
        digits += quotient
    assert rest == 0
    return int(digits)


@pytest.mark.parametrize("skill", JUDGES)
def test_labels_are_right_and_balanced(skill: Skill) -> None:
    yes = 0
    for one in samples(skill):
        ballot = read_verdict(completion(one.reply), reasoning=True).ballot
        assert ballot == ("yes" if _holds(one) else "no"), one
        yes += ballot == "yes"
    assert 0.4 < yes / len(samples(skill)) < 0.6


def _holds(one: Sample) -> bool:
    question = parse(block(one.prompt, "question"))
    assert question is not None
    if one.skill == "compare":
        other = _numbers(block(one.prompt, "inferred"))
        return sorted(other) == sorted((question.a, question.b, question.c)) and _same(one, question)
    stated = STATED.fullmatch(block(one.prompt, "answer"))
    if stated is None:
        return False
    a, b, c, x = map(int, stated.groups())
    if one.skill != "factuality":
        a, b, c = question.a, question.b, question.c
    return a * x + b == c


def _same(one: Sample, question: Equation) -> bool:
    """Every pair compared, and none differs; the multiset of numbers is checked by the caller."""
    work = split(one.reply).reasoning or ""
    num_digits = sum(len(str(n)) for n in (question.a, question.b, question.c))
    return "!" not in work and len(re.findall(r"(\d)\1[=,]", work)) == num_digits


def _numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", text)]


@pytest.mark.parametrize("skill", ["factuality", "correctness", "simple"])
def test_the_check_is_arithmetic_digit_by_digit(skill: Skill) -> None:
    for one in samples(skill):
        work = split(one.reply).reasoning or ""
        if work == "?":
            continue
        product, addition = work.split("\n")
        carry, a = 0, int(product[0])
        for digit, value in re.findall(r"(\d):(\d\d),", product):
            assert int(value) == a * int(digit) + carry
            carry = int(value) // 10
        carry = 0
        columns = re.findall(r"(\d)\+(\d)=(\d)(\d)([,'!])", addition)
        assert "".join(map("".join, columns)) == re.sub(r"[+=]", "", addition)
        for index, (top, bottom, result, claimed, mark) in enumerate(columns):
            value = int(top) + int(bottom) + carry
            carry = value // 10
            assert int(result) == value % 10
            assert (mark == "!") == (result != claimed)
            assert (mark == "!") <= (index == len(columns) - 1), "stops at the first difference"
            assert mark == "!" or (mark == "'") == (carry == 1)


def test_inferred_question_is_the_stated_one() -> None:
    for one in samples("infer"):
        stated = STATED.fullmatch(block(one.prompt, "answer"))
        visible = split(one.reply).answer
        if stated is None:
            assert visible == "?"
        else:
            a, b, c, _ = stated.groups()
            assert visible == f"Solve {a}x+{b}={c} for x."


@pytest.mark.parametrize(
    ("left", "right", "work"),
    [
        ((7, 56, 1), (7, 56, 1), "77,55=66,11,"),
        ((7, 56, 1), (7, 5, 1), "77,55=6.!"),
        ((7, 5, 1), (7, 56, 1), "77,55=.6!"),
        ((7, 56, 1), (8, 56, 1), "78!"),
    ],
)
def test_pairs(left: texts.Numbers, right: texts.Numbers, work: str) -> None:
    assert texts.compared(left, right) == work


@pytest.mark.parametrize(
    ("a", "b", "c", "x", "work"),
    [
        (3, 4, 40, 12, "3*2:06,1:03,\n6+4=00'3+0=44,\n"),
        (3, 4, 40, 13, "3*3:09,1:03,\n9+4=30!\n"),
        (9, 9, 90, 99, "9*9:81,9:89,\n1+9=00'9+0=09!\n"),
        (2, 1, 1, 50, "2*0:00,5:10,\n0+1=11,0+0=00,1+0=10!\n"),
    ],
)
def test_check(a: int, b: int, c: int, x: int, work: str) -> None:
    assert texts.check(a, b, c, x) == work
    assert texts.check_holds(a, b, c, x) == (a * x + b == c)


def test_the_check_agrees_with_the_arithmetic_on_any_numbers() -> None:
    rng = random.Random(0)
    for _ in range(5000):
        a, b, x = rng.randrange(2, 10), rng.randrange(1000), rng.randrange(10000)
        c = max(0, a * x + b + rng.choice((0, 0, 1, -1, 10, -10, 1000, 10000, -1000)))
        work = texts.check(a, b, c, x)
        clean = "!" not in work and not work.endswith("'\n")
        assert clean == (a * x + b == c), (a, b, c, x)


def test_wrong_answers_are_wrong_and_near() -> None:
    rng = random.Random(0)
    question = Equation(7, 25, 123)
    values = [flaws.wrong_answer(rng, question) for _ in range(500)]
    assert 123 not in values
    assert {122, 124, 213, 132, 12, 1233} <= set(values)
