"""Pools of key-value state under a batch, against whole-prompt passes of several kinds of models."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.engines.models import greedy  # noqa: E402
from veridistill.engines.local.batch import Batch, Row  # noqa: E402
from veridistill.engines.local.pool import Pool, RowByRow, pool_for  # noqa: E402
from veridistill.engines.local.slots import Slots  # noqa: E402
from veridistill.records import Sampling  # noqa: E402

OTHERS = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", {}),
    "mistral": ("MistralConfig", "MistralForCausalLM", {"sliding_window": 5}),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {"sliding_window": 5, "head_dim": 8}),
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", {"sliding_window": 5, "head_dim": 8}),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_slots_serve_the_usual_models(name: str) -> None:
    config, kind, more = OTHERS[name]
    shape = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
    extra = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    gpt2 = {"vocab_size": 50, "initializer_range": 0.3}
    settings = (gpt2 if name == "gpt2" else shape | heads) | more | extra
    model = getattr(transformers, kind)(getattr(transformers, config)(**settings)).eval()
    pool = pool_for(model, 4)
    assert isinstance(pool, Slots)
    check_pool(model, pool)


def test_row_by_row_is_right(tiny_model: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    check_pool(model, RowByRow(model))


def check_pool(model: Any, pool: Pool) -> None:
    """Rows of unlike length, some leaving early and one joining late, against whole-prompt passes."""
    prompts = [[(5 * i + 7 * n) % 43 + 3 for i in range(n)] for n in (1, 12, 5, 9)]
    batch = Batch(pool, [], "cpu")
    limits = (6, 3, 14, 8)
    rows = [Row(p, Sampling(0, 1, 0, 99), 0, n) for p, n in zip(prompts, limits, strict=True)]
    done: dict[int, tuple[int, ...]] = {}
    with torch.inference_mode():
        batch.admit(rows[:3])
        while batch.rows:
            for finished in batch.step():
                assert finished.finish_reason == "length"
                done[rows.index(finished.row)] = finished.token_ids
            if len(done) == 1 and rows[3].born == 0 and rows[3] not in batch.rows:
                batch.admit(rows[3:])
    assert {i: done[i] for i in range(4)} == {
        i: greedy(model, tuple(prompts[i]), limits[i], -1) for i in range(4)
    }
