"""How often the intervals of a gain hold the truth, by simulation: 95 % would be exact."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parent.parent.parent / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_benchmark", PATH)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("questions", [30, 200])
def test_the_paired_t_interval_covers(coverage: ModuleType, questions: int) -> None:
    found = coverage.cover(coverage.WORLDS[0], questions, 4000, bootstrap_draws=0)
    assert 0.93 <= found.t <= 0.97
    assert 0.93 <= found.level_t <= 0.97
    assert found.level_over_runs < 0.7, "repeating the same questions is not having more of them"
    assert found.understated > 2


@pytest.mark.parametrize("questions", [30, 200])
def test_questions_that_all_move_alike_are_no_certainty(coverage: ModuleType, questions: int) -> None:
    """Where few questions move, an exam may show no movement at all: t alone calls that exact."""
    found = coverage.cover(coverage.WORLDS[3], questions, 2000, bootstrap_draws=0)
    assert found.t >= 0.92
    if questions == 30:
        assert found.alike > 0.1
        assert found.t_alone < 0.85


@pytest.mark.parametrize("questions", [30, 200])
def test_benchmarks_that_gain_unequally_keep_their_own_spread(coverage: ModuleType, questions: int) -> None:
    found = coverage.cover(coverage.WORLDS[5], questions, 2000, bootstrap_draws=0)
    assert 0.93 <= found.t <= 0.97
    assert found.together > 0.97, "pooled benchmarks promise too little"
    assert found.wider > 1.3


def test_the_bootstrap_covers_nearly_as_often(coverage: ModuleType) -> None:
    found = coverage.cover(coverage.WORLDS[0], 30, 600, bootstrap_draws=400)
    assert 0.89 <= found.bootstrap <= 0.98
    assert "| easy and hard questions | 30 |" in coverage.table([found])
