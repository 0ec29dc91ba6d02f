"""Adapters: what is saved is the base with them added, and it answers as the adapted model does."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.jobs import job
from tests.training.test_training import run
from veridistill.config import LoraSection, TrainSection
from veridistill.errors import ConfigError, MissingExtra
from veridistill.training.loading import load, merged, with_lora


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"train\.lora needs .*pip install 'veridistill\[lora\]'"):
        with_lora(None, LoraSection(), 0)


def adapted(base: Path, **fields: Any) -> Any:
    """The tiny model with adapters that do something, and the ids that it is asked."""
    import torch
    from transformers import AutoModelForCausalLM

    model = with_lora(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraSection(rank=4, **fields), 1
    )
    noise = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=noise) / 10
    return model


def test_merged_it_answers_the_same(base: Path) -> None:
    import torch

    model, ids = adapted(base), torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        with model.disable_adapter():
            before = model(ids).logits
        wanted = model(ids).logits
        whole = merged(copy.deepcopy(model), torch.float32)
        found = whole(ids).logits
    assert (wanted - before).abs().max() > 0.01
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert not [name for name, _ in whole.named_parameters() if "lora" in name]
    assert {weight.requires_grad for weight in whole.parameters()} == {True}


def test_only_the_named_layers_learn(base: Path) -> None:
    learning = {
        name.split(".lora_")[0].rpartition(".")[2]
        for name, weight in adapted(base, targets=("q_proj", "v_proj")).named_parameters()
        if weight.requires_grad
    }
    assert learning == {"q_proj", "v_proj"}


def test_a_layer_that_does_not_exist(base: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.lora\.targets: q_prj cannot be adapted"):
        adapted(base, targets=("q_prj",))


def test_all_weights_learn_in_float32_without_adapters(base: Path, tmp_path: Path) -> None:
    import torch

    loaded = load(job(tmp_path, base_model=str(base)), "cpu")
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}
    assert loaded.storage == torch.bfloat16


def test_a_training_of_adapters_saves_a_whole_model(base: Path, make_examples: Any, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    section = TrainSection(
        max_steps=6, learning_rate=2e-2, batch_size=8, max_length=120, warmup=0, lora=LoraSection(rank=8)
    )
    result = run(base, make_examples(16), tmp_path, section)
    assert result.losses[-1] < result.losses[0] - 0.05
    assert not list((tmp_path / "model").glob("adapter*"))
    old, new = (AutoModelForCausalLM.from_pretrained(p, dtype="auto") for p in (base, tmp_path / "model"))
    assert new.dtype == torch.bfloat16
    assert torch.equal(new.model.embed_tokens.weight, old.model.embed_tokens.weight)
    assert not torch.equal(new.model.layers[0].mlp.up_proj.weight, old.model.layers[0].mlp.up_proj.weight)
    assert "adapters of rank 8 were trained" in (tmp_path / "model" / "README.md").read_text()
