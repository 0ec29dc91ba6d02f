"""The plan of a training's memory against saved tensors, real models' sizes and the peaks of real trainings."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import pytest

from veridistill.errors import ConfigError
from veridistill.training.memory import Layout, Shape, disk, memory

MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "training_memory.json"
SMALL = {
    "model_type": "qwen3", "num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 200, "head_dim": 16,
    "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 50, "tie_word_embeddings": True,
}  # fmt: skip
QWEN3_4B = {
    "model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 2560, "intermediate_size": 9728, "head_dim": 128,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151936, "tie_word_embeddings": True,
    "dtype": "bfloat16",
}  # fmt: skip
QWEN2_05B = {
    "model_type": "qwen2", "num_hidden_layers": 24, "hidden_size": 896, "intermediate_size": 4864,
    "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "millions"), [(QWEN3_4B, 4022.3), (QWEN2_05B, 493.9)], ids=["Qwen3-4B", "Qwen2.5-0.5B"]
)
def test_parameters_of_real_models(config: dict[str, Any], millions: float) -> None:
    assert Shape.of(config).parameters / 1e6 == pytest.approx(millions, rel=1e-3)


def saved(model: Any, tokens: int, half: bool) -> int:
    """Bytes of the tensors that one forward pass keeps for the backward pass, weights and their copies left out."""
    import torch

    weights = {weight.numel() for weight in model.parameters()}
    found: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        if tensor.numel() not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
    with autocast, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.model(input_ids=torch.arange(tokens)[None] % 50, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("products", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_what_a_layer_saves_is_what_torch_saves(
    products: Literal["float32", "bfloat16"], family: str
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    kinds = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    config, model = kinds[family]
    fields = {name: value for name, value in SMALL.items() if name != "model_type"}

    def per_token(layers: int) -> float:
        made = model(config(**fields | {"num_hidden_layers": layers})).train()
        half = products == "bfloat16"
        return (saved(made, 509, half) - saved(made, 251, half)) / 258

    def planned(layers: int) -> int:
        shape = Shape.of(
            SMALL | {"model_type": family, "num_hidden_layers": layers, "tie_word_embeddings": False}
        )
        return memory(shape, Layout("cpu", products, 1, 1)).activations

    assert planned(3) - planned(2) == pytest.approx(per_token(3) - per_token(2), rel=0.02)


def test_the_plan_meets_the_measured_peaks() -> None:
    found = json.loads(MEASURED.read_text(encoding="utf-8"))["sizes"]
    assert len({one["parameters"] for one in found}) >= 4
    for one in found:
        assert one["planned"] == memory(Shape(**one["shape"]), Layout(**one["layout"])).total, "measure again"
        assert one["planned"] == pytest.approx(one["measured"], rel=0.15), one["name"]


def test_half_a_billion_parameters_fit_into_eleven_gigabytes() -> None:
    shape = Shape.of(QWEN2_05B)
    one_row = Layout("cpu", "float32", 450, 1)
    assert 9e9 < memory(shape, one_row).total < 11e9
    recomputed = Layout("cpu", "float32", 450, 1, checkpointing=True)
    assert memory(shape, recomputed).total < memory(shape, one_row).total


def test_each_choice_saves_what_it_is_for() -> None:
    shape = Shape.of(QWEN3_4B)
    plain = memory(shape, Layout("cuda", "bfloat16", 4096, 2))
    assert plain.weights == plain.gradients == plain.optimizer / 2 == 4 * shape.parameters
    less = memory(shape, Layout("cuda", "bfloat16", 4096, 2, checkpointing=True))
    assert less.activations < plain.activations / 8
    adapters = memory(shape, Layout("cuda", "bfloat16", 4096, 2, rank=16))
    assert adapters.gradients < plain.gradients / 100
    assert adapters.weights < plain.weights * 0.52
    assert disk(shape, 16).checkpoints < disk(shape, None).checkpoints / 100
    assert disk(shape, None).model == 2 * shape.parameters


def test_another_family() -> None:
    with pytest.raises(ConfigError, match=r"Llama family only; config\.json lacks 'num_hidden_layers'"):
        Shape.of({"num_attention_heads": 4, "hidden_size": 64})
