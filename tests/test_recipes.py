"""Recipes load, open with the command that runs them, and carry the paper's settings where they say so."""

from pathlib import Path

import pytest

import veridistill
from veridistill.config import load
from veridistill.evaluation import benchmarks

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))
PAPERS = [path for path in RECIPES if path.stem.endswith("gpu")]


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 11
    assert len(PAPERS) >= 7


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_says_how_to_run_it(path: Path) -> None:
    config = load(path)
    assert {*config.evaluation.benchmarks, *config.seeds.decontaminate} <= set(benchmarks.NAMES)
    text = path.read_text(encoding="utf-8")
    head = text[: text.index("\nseed:")]
    assert all(line.startswith("#") for line in head.split("\n"))
    assert f"veridistill run recipes/{path.name} " in head
    assert "# Expect" in head


def test_the_packaged_demonstration_loads() -> None:
    path = Path(veridistill.__file__).parent / "lab" / "demo.yaml"
    config = load(path)
    assert (config.model.path, config.seeds.path, config.evaluation.problems) == ("lab", ("lab",), "lab")
    assert config.generate.candidates == 8
    assert config.judge.votes >= 3
    assert "veridistill run lab --out runs/demo" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_the_papers_settings(path: Path) -> None:
    config = load(path)
    assert "We have not run this recipe" in path.read_text(encoding="utf-8")
    assert (config.generate.candidates, config.judge.votes) == (8, 5)
    assert (config.generate.temperature, config.judge.temperature, config.evaluation.temperature) == (
        0.8,
        0.6,
        0.7,
    )
    assert {s.top_p for s in (config.generate, config.judge, config.evaluation)} == {0.95}
    assert {s.max_tokens for s in (config.generate, config.judge, config.evaluation)} == {32768}
    assert (config.train.batch_size, config.train.max_length, config.train.seed) == (64, 32768, 42)
    assert config.train.epochs is None


SFT = {
    "qwen3-0.6b": (2000, 3e-5, 0.05, 0.01, 1.0),
    "qwen3-4b": (4000, 2e-5, 0.03, 0.0, 0.2),
    "qwen3-8b": (2000, 5e-6, 0.05, 0.01, 1.0),
}


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_the_papers_training_by_size(path: Path) -> None:
    train = load(path).train
    found = (train.max_steps, train.learning_rate, train.warmup, train.weight_decay, train.clip)
    assert found == SFT["-".join(path.stem.split("-")[:2])]
