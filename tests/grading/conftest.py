"""The ways of confinement that work on this machine, for the tests that run programs in a sandbox."""

import asyncio

import pytest

from veridistill.grading import sandbox
from veridistill.grading.sandbox import Interpreter
from veridistill.grading.sandbox.backends import BACKENDS, Backend


@pytest.fixture(scope="module", params=list(BACKENDS))
def way(request: pytest.FixtureRequest) -> Backend:
    found = asyncio.run(sandbox.probe(request.param, Interpreter.own()))
    if isinstance(found, str):
        pytest.skip(f"{request.param} does not work on this machine: {found}")
    return found.way
