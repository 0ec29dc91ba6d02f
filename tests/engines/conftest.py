"""Fault servers for tests."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """One process of fault servers for a module."""
    pytest.importorskip("aiohttp")
    from tests.engines.fault_server import Process

    process = Process()
    yield process
    process.kill()


@pytest.fixture
def serve(shared: Any, tmp_path: Path) -> Callable[..., Any]:
    """Makes fault servers; all its keyword arguments are the script."""
    from tests.engines.fault_server import Served

    logs = count()
    return lambda **script: Served(shared, script, tmp_path / f"{next(logs)}.jsonl")
