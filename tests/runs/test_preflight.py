"""What cannot be trained is said before the build is paid for, with the numbers and what would fit."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import veridistill
from veridistill.config import TrainSection
from veridistill.errors import ConfigError
from veridistill.runs import preflight
from veridistill.training import machine
from veridistill.training.machine import Machine
from veridistill.training.memory import Shape
from veridistill.training.plan import LIBRARIES, plan

QWEN3_4B = {
    "model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 2560, "intermediate_size": 9728, "head_dim": 128,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151936, "tie_word_embeddings": True,
    "dtype": "bfloat16",
}  # fmt: skip
SHAPE = Shape.of(QWEN3_4B)


def gpu(gib: int) -> Machine:
    return Machine("cuda", "test", 1, gib << 30)


def test_four_billion_parameters_at_32k_tokens_do_not_fit_on_80_gib() -> None:
    found = plan(SHAPE, TrainSection(micro_batch_size=1), gpu(80), "bfloat16", 32768)
    assert not found.configured.fits
    by_settings = {choice.settings: choice for choice in found.choices}
    again = by_settings["train.gradient_checkpointing=true",]
    assert again.longest > 3 * found.configured.longest
    assert by_settings["train.gradient_checkpointing=true", "train.lora={}"].fits


def test_the_longest_row_is_the_last_that_fits() -> None:
    section = TrainSection(micro_batch_size=1, gradient_checkpointing=True)
    longest = plan(SHAPE, section, gpu(80), "bfloat16", 100).configured.longest
    fits, fails = (plan(SHAPE, section, gpu(80), "bfloat16", n).configured for n in (longest, longest + 1))
    assert (fits.fits, fails.fits) == (True, False)
    assert fits.needed <= 0.951 * (80 << 30) < fails.needed + LIBRARIES["cuda"]


def test_each_way_is_listed_once() -> None:
    section = TrainSection(micro_batch_size=1, gradient_checkpointing=True, lora={"rank": 8})  # type: ignore[arg-type]
    assert [one.settings for one in plan(SHAPE, section, gpu(80), "bfloat16", 9).choices] == [()]
    ways = [one.settings for one in plan(SHAPE, TrainSection(), gpu(80), "bfloat16", 9).choices]
    assert len(ways) == len(set(ways)) == 4


def test_a_refusal_says_what_would_fit() -> None:
    said = preflight.refusal(plan(SHAPE, TrainSection(), gpu(80), "bfloat16", 32768))
    for part in ("rows of up to 32,768 tokens", "80.0 GiB", "-o train.max_length=", "-o train.lora={}"):
        assert part in said
    none = preflight.refusal(plan(SHAPE, TrainSection(), gpu(4), "bfloat16", 32768))
    assert "take a smaller model or a larger machine" in none


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("8xH100-80", Machine("cuda", "H100", 8, 80 << 30)),
        ("A100-40", Machine("cuda", "A100", 1, 40 << 30)),
    ],
)
def test_a_machine_can_be_named(text: str, found: Machine) -> None:
    assert machine.named(text) == found


@pytest.mark.parametrize("text", ["", "H100", "0xH100-80", "8xH100-0", "8 H100 80"])
def test_a_machine_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="for example 8xH100-80"):
        machine.named(text)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN3_4B))
    return folder


def test_the_command_plans_for_a_named_machine(large: Path, tmp_path: Path) -> None:
    command: list[Any] = ["plan", "--model", large, "--out", tmp_path / "none", "--gpus", "8xH100-80"]
    done = veridistill(*command)
    assert done.code == 0, done.err
    assert "4,022 M parameters" in done.out
    assert "training uses one of the 8 GPUs" in done.out
    found = veridistill(*command, "--json").json
    assert found["choices"][0]["memory"]["weights"] == 4 * found["parameters"]
    assert not (tmp_path / "none").exists()


def test_a_run_that_cannot_be_trained_is_refused_before_it_asks_anything(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "here", lambda device: Machine("cpu", "CPU", 1, 24 << 30))
    done = veridistill(
        "run", "--model", large, "--seeds", "lab", "--limit", "2", "-d", tmp_path / "run", "-q"
    )
    assert done.code == 2
    assert "training cannot follow this build" in done.err
    assert not (tmp_path / "run").exists()
    done = veridistill(
        *("run", "--model", large, "--seeds", "lab", "--limit", "2", "-d", tmp_path / "run", "-q"),
        *("-o", "train.preflight=off"),
    )
    assert "training cannot follow" not in done.err, "and fails at the model, which has no weights"
