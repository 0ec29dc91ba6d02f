"""Random cases: the same ones unless fresh ones are asked for, and a failure says how to see it again."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
from hypothesis import given, settings, strategies as st

@settings(max_examples=20)
@given(st.integers())
def test_draws(number):
    print("drew", number)

@given(st.integers())
def test_fails(number):
    assert number < 5
"""


def session(folder: Path, *options: str) -> str:
    """The output of a session on `CASES` with the profiles of these tests."""
    (folder / "test_cases.py").write_text(CASES, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-s", "-c", "/dev/null", *options]
    root = Path(__file__).parent.parent
    done = subprocess.run([*command, str(folder)], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize(("options", "same"), [((), True), (("--hypothesis-profile=fresh",), False)])
def test_cases_are_fixed_unless_fresh_ones_are_asked_for(
    tmp_path: Path, options: tuple[str, ...], same: bool
) -> None:
    one, other = (session(tmp_path, *options) for _ in range(2))
    drawn = [re.findall(r"^\.?drew (.*)$", output, re.MULTILINE) for output in (one, other)]
    assert len(drawn[0]) >= 19
    assert (drawn[0] == drawn[1]) is same
    assert "@reproduce_failure(" in one
