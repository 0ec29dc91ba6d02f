"""Presets are found by name, load, say how to run them, and carry the paper's settings where they say so."""

from pathlib import Path

import pytest

from veridistill.config import config_file, load, preset_file, presets, template
from veridistill.errors import ConfigError
from veridistill.evaluation import benchmarks

RECIPES = [preset_file(name) for name in presets()]
PAPERS = [path for path in RECIPES if path.stem.endswith("gpu")]


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 15
    assert len(PAPERS) >= 7


@pytest.mark.parametrize("name", presets())
def test_a_preset_has_a_name_and_a_summary_that_fit_a_line(name: str) -> None:
    assert 0 < len(presets()[name]) <= 48
    assert len(name) <= 30
    assert config_file(name) == preset_file(name)


def test_a_file_wins_where_it_cannot_be_meant_for_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lab", "qwen3-0.6b-math", "mine.yaml"):
        Path(name).touch()
    assert config_file("lab") == preset_file("lab")
    assert [config_file(name) for name in ("./lab", "qwen3-0.6b-math", "mine.yaml")] == [
        *map(Path, ("lab", "qwen3-0.6b-math", "mine.yaml"))
    ]
    assert config_file("missing.yaml") == Path("missing.yaml"), "`load` says that it cannot be read"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("qwen3-8b", "did you mean qwen3-8b-code-8gpu or qwen3-8b-math-8gpu or qwen3-8b-science-8gpu?"),
        ("qwen3-4b-math-8gpus", "did you mean qwen3-4b-math-8gpu or"),
        ("recipes/qwen3-0.6b-math-laptop.yaml", "did you mean qwen3-0.6b-math-laptop"),
        ("llama", "`veridistill init --list` lists the presets"),
    ],
)
def test_an_unknown_name_is_refused_with_those_near_it(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config_file(name)
    assert str(refused.value).startswith(f"{name}: neither a file nor a preset; {message}")
    with pytest.raises(ConfigError, match="there is no preset llama"):
        preset_file("llama")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_preset_is_written_out_in_full(path: Path, tmp_path: Path) -> None:
    written = tmp_path / "run.yaml"
    written.write_text(template(["judge.votes=4"], path), encoding="utf-8")
    assert load(written) == load(path, ["judge.votes=4"])
    head = path.read_text(encoding="utf-8").partition("\nseed:")[0]
    assert written.read_text(encoding="utf-8").startswith(head)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_says_how_to_run_it(path: Path) -> None:
    config = load(path)
    assert {*config.evaluation.benchmarks, *config.seeds.decontaminate} <= set(benchmarks.NAMES)
    text = path.read_text(encoding="utf-8")
    head = text[: text.index("\nseed:")]
    assert all(line.startswith("#") for line in head.split("\n"))
    assert f"\n#   veridistill run {path.stem} " in head
    assert "# Expect" in head


def test_the_packaged_demonstration_loads() -> None:
    path = preset_file("lab")
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
