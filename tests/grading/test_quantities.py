"""Quantities: a unit is required, units are converted, and the reference says how exact an answer must be."""

import asyncio

import pytest

from veridistill.evaluation.ttc import form
from veridistill.grading.compare.quantities import measured, same_quantity
from veridistill.grading.graders import Graders
from veridistill.records import Problem

RIGHT = [
    ("12 V", "12 V"),
    (r"12\text{ V}", "12 V"),
    ("12V", "12 V"),
    ("V = 12 V", "12 V"),
    ("0.012 kV", "12 V"),
    ("12000 mV", "12 V"),
    ("90 km/h", "25 m/s"),
    ("0.075 g/cm^3", "75 kg/m^3"),
    (r"75\ \Omega", "75 ohm"),
    ("1,200 J", "1.2 kJ"),
    ("298.15 K", "25 °C"),
    ("9.812 m/s^2", "9.81 m/s^2"),
    ("9.78 m/s^2", r"9.81 \pm 0.05 m/s^2"),
    ("9.86 m/s^2", "9.81 ± 0.05 m/s^2"),
    (r"3.00 \times 10^8\text{ m/s}", "300000000 m/s"),
    ("3e8 m/s", "300000000 m/s"),
    ("0.333333 m", r"\frac{1}{3} m"),
    ("0.5235988 rad", "30 deg"),
    ("3 apples", "3 apple"),
]
WRONG = [
    ("12", "12 V"),
    ("12 A", "12 V"),
    ("12 W", "12 J"),
    ("-12 V", "12 V"),
    ("12.1 V", "12 V"),
    ("25 m/s^2", "25 m/s"),
    ("9.8 m/s^2", "9.81 m/s^2"),
    ("9.87 m/s^2", r"9.81 \pm 0.05 m/s^2"),
    ("0.333 m", r"\frac{1}{3} m"),
    ("1 V, 2 V", "1 V"),
    ("12 or 13 V", "12 V"),
    ("twelve V", "12 V"),
    ("12 million V", "12 V"),
    ("1e999 V", "12 V"),
    ("", "12 V"),
    ("0.5 rad", "30 deg"),
]


@pytest.mark.parametrize(("answer", "reference"), RIGHT)
def test_right(answer: str, reference: str) -> None:
    assert same_quantity(answer, reference)


@pytest.mark.parametrize(("answer", "reference"), WRONG)
def test_wrong(answer: str, reference: str) -> None:
    assert not same_quantity(answer, reference)


@pytest.mark.parametrize("reference", ["12", "V", "", "12 V or 13 V"])
def test_a_reference_without_number_or_unit_cannot_be_read(reference: str) -> None:
    assert measured(reference) is None

    async def graded() -> str:
        async with Graders(workers=1) as graders:
            return (
                await graders.grade(Problem("p", "b", "quantity", "?", reference), r"\boxed{12 V}")
            ).outcome

    assert asyncio.run(graded()) == "unreadable_reference"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (r"<think>\boxed{12 V}</think> So \boxed{12 kV}", "wrong"),
        ("It follows.\nAnswer: 0.012 kV", "pass"),
        ("12 V", "no_answer"),
    ],
)
def test_grades(reply: str, outcome: str) -> None:
    async def graded() -> str:
        async with Graders(workers=1) as graders:
            return (await graders.grade(Problem("p", "b", "quantity", "?", "12 V"), reply)).outcome

    assert asyncio.run(graded()) == outcome


def test_the_same_quantity_in_two_units_is_one_vote() -> None:
    assert form("quantity", "1.5 km") == form("quantity", "1500 m") != form("quantity", "1500 s")
    assert form("quantity", "no number") == "no number"
