"""Units by tables: what is a unit, what is converted into what, and what is a label."""

from fractions import Fraction

import pytest

from veridistill.grading.compare.units import SAME, Conversion, conversion, known


@pytest.mark.parametrize(
    ("unit", "other", "factor"),
    [
        ("cm", "m", "1/100"),
        ("km", "mi", "15625/25146"),
        ("Meters", "m", "1"),
        ("kilometres", "m", "1000"),
        ("µg", "mg", "1/1000"),
        ("mW", "MW", "1e-9"),
        ("hours", "min", "60"),
        ("years", "months", "12"),
        ("lbs", "kg", "0.45359237"),
        ("mL", "cm^3", "1"),
        ("cubic centimeters", "cc", "1"),
        ("square feet", "in^2", "144"),
        ("sq ft", "ft²", "1"),
        ("km/h", "m/s", "5/18"),
        ("miles per hour", "mph", "1"),
        ("m s^{-2}", "m/s^2", "1"),
        ("kg·m/s^2", "N", "1"),
        ("N m", "J", "1"),
        ("kWh", "MJ", "3.6"),
        ("kcal", "J", "4184"),
        ("V/A", "Ω", "1"),
        ("mol/L", "mM", "1000"),
        ("s^{-1}", "Hz", "1"),
        ("$", "cents", "100"),
        ("apples", "Apple", "1"),
    ],
)
def test_a_unit_is_converted_exactly(unit: str, other: str, factor: str) -> None:
    found = conversion(unit, other)
    assert found == Conversion(Fraction(factor))
    assert conversion(other, unit) == found.inverse


@pytest.mark.parametrize(
    ("unit", "other", "value", "same"),
    [("°C", "°F", 25, 77), ("°F", "°C", -40, -40), ("K", "°C", 0, "-273.15"), ("°C", "K", 100, "373.15")],
)
def test_temperatures_have_zeros_of_their_own(unit: str, other: str, value: int, same: str) -> None:
    found = conversion(unit, other)
    assert found is not None
    assert value * found.factor + found.offset == Fraction(same)
    assert Fraction(same) * found.inverse.factor + found.inverse.offset == value


@pytest.mark.parametrize(("unit", "pi"), [("deg", -1), ("revolutions", -1)])
def test_angles_differ_by_pi(unit: str, pi: int) -> None:
    found = conversion("rad", unit)
    assert found is not None
    assert found.pi == pi


@pytest.mark.parametrize(
    ("unit", "other"),
    [
        ("m", "s"),
        ("m/s", "m"),
        ("cm^2", "cm"),
        ("N", "J"),
        ("kWh", "kW"),
        ("apples", "pears"),
        ("apples", "m"),
        ("$", "€"),
        ("days", "months"),
        ("°C", "m"),
        ("%", "m"),
    ],
)
def test_what_is_of_another_quantity_is_not(unit: str, other: str) -> None:
    assert conversion(unit, other) is None


@pytest.mark.parametrize(
    ("unit", "other"), [("deg", "°C"), ("C", "°C"), ("°F", "F"), ("m", "m"), ("x y", "xy")]
)
def test_what_is_written_otherwise_is_the_same(unit: str, other: str) -> None:
    assert conversion(unit, other) == SAME


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "e",
        "d",
        "apples",
        "J/kg K",
        "m/",
        "/s",
        "m^",
        "square",
        "M^x",
        "units",
        "cM/",
        "per",
        "12",
        "m 3",
    ],
)
def test_a_label_is_no_unit(text: str) -> None:
    assert known(text) is None
