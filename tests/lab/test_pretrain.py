"""Pretraining: a killed run that is resumed ends like an uninterrupted one; its log records each step once."""

import json
from pathlib import Path
from typing import Any

import pytest

from veridistill.errors import ConfigError
from veridistill.lab import pretrain, tokenizer
from veridistill.lab.worlds import WORLDS, named

TOKENS = 3_000  # three steps or four of 4 samples


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "BATCH", 4)
    monkeypatch.setattr(pretrain, "LOG_STEPS", 1)
    monkeypatch.setattr(pretrain, "EVAL_SAMPLES", 1)
    monkeypatch.setattr(tokenizer, "SAMPLES", 200)


def weights(directory: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def test_a_killed_pretraining_resumes_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds = list(WORLDS.values())
    whole = pretrain.pretrain(tmp_path / "whole", worlds, num_tokens=TOKENS, threads=1, checkpoint_steps=2)
    real, calls = pretrain.train_step, 0

    def killed(*args: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(pretrain, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(tmp_path / "killed", worlds, num_tokens=TOKENS, threads=1, checkpoint_steps=2)
    monkeypatch.setattr(pretrain, "train_step", real)
    resumed = pretrain.pretrain(tmp_path / "killed", worlds, num_tokens=TOKENS, threads=1, checkpoint_steps=2)
    expected = weights(whole)
    assert all((found == expected[name]).all() for name, found in weights(resumed).items())
    log = [json.loads(line) for line in (tmp_path / "killed" / "pretrain_log.jsonl").read_text().splitlines()]
    assert log[-1]["tokens"] >= TOKENS
    assert [row["step"] for row in log] == sorted(row["step"] for row in log)
    assert set(WORLDS) < set(log[-1])
    for world in worlds:
        assert set(log[-1][world.name]) == {"taught", "hard"}
        assert set(log[-1][world.name]["hard"]) == set(world.skills)
    with pytest.raises(ConfigError, match=r"made with the worlds equations, science, programs, not science"):
        pretrain.pretrain(tmp_path / "killed", named("science"), num_tokens=TOKENS, threads=1)


@pytest.mark.parametrize("name", [*WORLDS, "all"])
def test_the_order_of_the_data_is_fixed(name: str) -> None:
    worlds = named(name)
    assert pretrain.batch_samples(3, worlds) == pretrain.batch_samples(3, worlds)
    assert pretrain.batch_samples(3, worlds) != pretrain.batch_samples(4, worlds)


def test_the_shipped_log_is_that_of_the_shipped_model() -> None:
    log = Path(pretrain.__file__).parent / "pretrain_log.jsonl"
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert rows[-1]["tokens"] >= pretrain.NUM_TOKENS > rows[-2]["tokens"]
    assert rows[-1]["long"]["factuality"] > rows[-1]["long"]["solve"], "it judges better than it solves"
    assert log.stat().st_size < 200_000
