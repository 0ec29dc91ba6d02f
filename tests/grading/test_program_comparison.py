"""LiveCodeBench's comparison of what a program gave with what is expected, as tables. No program runs here."""

import json

import pytest

from veridistill.grading.programs import same_output, same_result

PRINTED_SAME = [
    ("5", "5"),
    ("5\n", "5"),
    ("5", "5\n\n"),
    ("\n\n5\n", "5"),
    ("5\r\n6\r\n", "5\n6\n"),
    ("\t5\t", "5"),
    ("a\nb\nc", "a\nb\nc"),
    ("a \nb ", "a\nb"),
    (" a\n b", "a\nb"),
    ("1 2 3", "1  2   3"),
    ("1\t2", "1 2"),
    ("0.50", "0.5"),
    (".5", "0.5"),
    ("5.", "5"),
    ("-0", "0"),
    ("-0.0", "0"),
    ("+7", "7"),
    ("007", "7"),
    ("1E2", "100"),
    ("1e-3", "0.001"),
    ("3.0 4.00\nx", "3 4\nx"),
    ("inf", "Infinity"),
    ("123456789012345678901234567890.0", "123456789012345678901234567890"),
    ("Case #1: 3", "Case #1: 3"),
    ("é ü", "é ü"),
    ("YES\n1.0 2.0", "YES\n1 2"),
    ("1\n\n2", "1\n\n2"),
    ("\n".join(["7"] * 1000), "\n".join(["7.0"] * 1000)),
]
PRINTED_OTHER = [
    ("5", "6"),
    ("", "0"),
    ("5 ", ""),
    ("yes", "YES"),
    ("1 2", "12"),
    ("1 2", "2 1"),
    ("1\n2", "1 2"),
    ("1\n2\n3", "1\n2"),
    ("1\n2", "1\n2\n3"),
    ("1\n\n2", "1\n2"),
    ("0.3333333", "0.33333333"),
    ("1e-9", "0"),
    ("1/2", "0.5"),
    ("0x10", "16"),
    ("1,000", "1000"),
    ("a b", "a  b"),
    ("True", "1"),
    ("nan", "nan 1"),
    ("snan", "1"),
    ("Case #1: 3.0", "Case #1: 3"),
    ("5\n5", "5"),
    ("12345678901234567890123456789.1", "12345678901234567890123456789"),
    ("[1, 2]", "[1,2]"),
    ('"a"', "a"),
    ("�", "é"),
]
RETURNED_SAME = [
    (1, 1),
    (1.0, 1),
    (True, 1),
    ([1, [2, 3]], [1, [2, 3]]),
    ("a b", "a b"),
    ([], []),
    (None, None),
    ({"a": [1], "b": None}, {"b": None, "a": [1]}),
    (-0.0, 0),
    (10**400, 10**400),
    (["é"], ["é"]),
]
RETURNED_OTHER = [
    (1, 2),
    ("1", 1),
    ([1], 1),
    ([[1]], [1]),
    ([1, 2], [2, 1]),
    (0.1 + 0.2, 0.3),
    ("a ", "a"),
    ("A", "a"),
    (None, 0),
    (False, None),
    ([], {}),
    ("", None),
    ({"a": 1}, {"a": 1, "b": 2}),
    (10**400 + 1, 10**400),
    (2**53 + 1, 2.0**53),
]


@pytest.mark.parametrize(("printed", "expected"), PRINTED_SAME)
def test_outputs_that_are_the_same(printed: str, expected: str) -> None:
    assert same_output(printed, expected)
    assert same_output(expected, printed)


@pytest.mark.parametrize(("printed", "expected"), PRINTED_OTHER)
def test_outputs_that_are_not(printed: str, expected: str) -> None:
    assert not same_output(printed, expected)
    assert not same_output(expected, printed)


@pytest.mark.parametrize(("returned", "expected"), RETURNED_SAME)
def test_results_that_are_the_same(returned: object, expected: object) -> None:
    assert same_result(json.dumps(returned).encode(), json.dumps(expected))


@pytest.mark.parametrize(("returned", "expected"), RETURNED_OTHER)
def test_results_that_are_not(returned: object, expected: object) -> None:
    assert not same_result(json.dumps(returned).encode(), json.dumps(expected))


@pytest.mark.parametrize(
    "returned", [b"", b"[", b"1 2", b"[1]]", b"nan", b"\xff", b"'a'", b"[" * 10**6, b"\x00"]
)
def test_a_result_that_is_no_json_is_not_the_expected_one(returned: bytes) -> None:
    assert not same_result(returned, "1")
