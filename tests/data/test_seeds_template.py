"""`seeds.question` as a template: what is filled in, once, and what is refused."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridistill.data.seeds.columns import Unfit
from veridistill.data.seeds.template import parse
from veridistill.errors import ConfigError

ROW: dict[str, Any] = {
    "text": "Add {a} and {{b}}.",
    "tests": ["assert f(1) == {text}", "assert f(2) == 3"],
    "by": {"key": "inner", "0": "zero", "deep": [["x", "y"]]},
    "num": 7,
    "rate": 0.5,
    "blank": " ",
    "empty": "",
    "none": None,
    "flag": True,
    "lost": float("nan"),
    "Full name": "Ada",
}

FILLED = [
    ("{text}", "Add {a} and {{b}}."),
    (
        "{text}\n\nYour code should pass, for example:\n{tests[0]}",
        "Add {a} and {{b}}.\n\nYour code should pass, for example:\nassert f(1) == {text}",
    ),
    ("{tests[1]}{tests[1]}", "assert f(2) == 3assert f(2) == 3"),
    ("{by[key]} {by[0]} {by[deep][0][1]}", "inner zero y"),
    ("{{{num}}} {rate} {{text}}", "{7} 0.5 {text}"),
    ("{ text } {Full name}", "Add {a} and {{b}}. Ada"),
    ("{num}{empty}{blank}", "7 "),
]


@pytest.mark.parametrize(("template", "text"), FILLED)
def test_a_template_is_filled_once(template: str, text: str) -> None:
    assert parse(template).fill(ROW).text == text


@given(st.lists(st.text("{}[]ab0", max_size=6), min_size=2, max_size=2), st.text("{}ab\n", max_size=8))
def test_what_a_column_holds_is_never_read_as_a_template(values: list[str], literal: str) -> None:
    first, second = (f"{value}." for value in values)
    escaped = literal.replace("{", "{{").replace("}", "}}")
    filled = parse(f"{{a}}{escaped}{{b}}{escaped}").fill({"a": first, "b": second})
    assert filled.text == first + literal + second + literal
    assert filled.values == (first, second)


def test_a_text_without_a_brace_names_one_column() -> None:
    assert parse("Full name").fill(ROW).text == "Ada"
    assert [column.name for column in parse("Full name").columns] == ["Full name"]


def test_only_the_named_columns_are_wanted() -> None:
    template = parse("{text} {tests[0]} {{none}} {text} {by[answer]}")
    assert [column.name for column in template.columns] == ["text", "tests", "by"]


UNFIT = [
    ("{tests[2]}", ["tests[2] is not there: the list has 2 items, counted from 0"]),
    ("{tests[-1]}", ["tests is a list: [-1] must be a whole number from 0"]),
    ("{tests[first]}", ["tests is a list: [first] must be a whole number from 0"]),
    ("{by[kye]}", ["by has no key kye (keys: key, 0, deep)"]),
    (
        "{by[deep][0][1][2]}",
        ["by[deep][0][1] must be a list or a mapping, since [2] is asked of it (found 'y')"],
    ),
    ("{none[0]}", ["none must be a list or a mapping, since [0] is asked of it (found None)"]),
    ("{none}", ["none must be text or a number (found None)"]),
    ("{flag}", ["flag must be text or a number (found True)"]),
    ("{lost}", ["lost must be text or a number (found nan); pandas writes NaN where none is given"]),
    ("{tests}", ["tests must be text or a number (found ['assert f(1) == {text}', 'assert f(2) == 3'])"]),
    ("Q: {blank}", ["blank is blank"]),
    ("Q: {empty}{blank}", ["empty and blank are blank"]),
    ("num", ["num must be text (found 7)"]),
    ("empty", ["empty is empty"]),
]


@pytest.mark.parametrize(("template", "faults"), UNFIT)
def test_a_value_that_does_not_fit_is_told(template: str, faults: list[str]) -> None:
    with pytest.raises(Unfit) as caught:
        parse(template).fill(ROW)
    assert list(caught.value.faults) == faults


def test_every_value_that_does_not_fit_is_told_once() -> None:
    with pytest.raises(Unfit) as caught:
        parse("{texts} {tests[9]} {texts}").fill({"text": "a", "tests": []})
    assert list(caught.value.faults) == [
        "no column texts (columns: text, tests); did you mean {text} in seeds.question?",
        "tests[9] is not there: the list has 0 items, counted from 0",
    ]


UNREADABLE = [
    ("{text", "a single {; write {{ for a brace"),
    ("text} {a}", "a single }; write }} for a brace"),
    ("{}", "{}, which is no column"),
    ("{[0]}", "{[0]}, which is no column"),
    ("{a[]}", "{a[]}, which is no column"),
    ("{a[0}", "{a[0}, which is no column"),
    ("{a[0]b}", "{a[0]b}, which is no column"),
    ("{a.b}", "there is no attribute with . here"),
    ("{a.__class__[b]}", "there is no attribute with . here"),
    ("{a!r}", "there is no conversion with ! here"),
    ("{a:>9}", "there is no format with : here"),
    ("only {{braces}}", "no column; name one"),
]


@pytest.mark.parametrize(("template", "fault"), UNREADABLE)
def test_a_template_that_cannot_be_read_is_an_error(template: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=f"seeds.question: the template .*{re.escape(fault)}"):
        parse(template)
