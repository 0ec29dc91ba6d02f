"""The exception tree: exit codes, the tree in the docstring, errors that cross processes."""

import inspect
import pickle
import re

import pytest

from veridistill import errors
from veridistill.errors import ConfigError, VeridistillError, missing_extra

TREE = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}

EXIT_CODES = {
    "VeridistillError": 1,
    "ConfigError": 2,
    "MissingExtra": 2,
    "RunLocked": 5,
    "Incomplete": 3,
    "EngineDown": 3,
    "BudgetReached": 3,
    "QualityLimit": 4,
    "RequestRefused": 1,
}


def test_exit_codes() -> None:
    assert {kind.__name__: kind.exit_code for kind in TREE} == EXIT_CODES


def test_the_docstring_draws_the_tree() -> None:
    assert errors.__doc__
    drawn: dict[str, str] = {}
    above: dict[int, str] = {-4: "Exception"}
    for line in errors.__doc__.split("\n"):
        if found := re.fullmatch(r"    ([ │├└─]*)([A-Z]\w+).*", line):
            depth = len(found[1])
            drawn[found[2]] = above[depth - 4]
            above[depth] = found[2]
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in TREE}


@pytest.mark.parametrize("kind", sorted(TREE, key=lambda kind: kind.__name__))
def test_errors_are_the_users_and_can_be_pickled(kind: type[VeridistillError]) -> None:
    error = kind("votes must be at least 1")
    assert isinstance(error, VeridistillError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = missing_extra("engine.kind=vllm", "vllm")
    assert isinstance(error, ConfigError)
    assert isinstance(error, ImportError)
    assert (
        str(error)
        == "engine.kind=vllm needs packages that are not installed: pip install 'veridistill[vllm]'"
    )
