"""A tiny model whose replies hold markers and end by themselves, and what that model itself would say."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.conftest import save_model, save_tokenizer
from veridistill.engines.chat import Prompts
from veridistill.engines.checkpoint import Checkpoint
from veridistill.records import Messages

CONTEXT = 32_768


def save_talkative(directory: Path) -> Path:
    """A random Qwen3 that says `<|im_end|>`, `<think>` and `</think>` now and then, with room for 32,768 tokens.

    One dimension of the residual stream is the same for every token, so that what the output layer reads from it is
    a bias: the logits of ordinary tokens scatter around 0 by about 3, those of the three markers are constant.
    """
    import torch
    from safetensors.torch import load_file, save_file

    vocabulary = save_tokenizer(directory)
    settings = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {token["content"]: token["id"] for token in settings["added_tokens"]}
    changes = {"max_position_embeddings": CONTEXT, "head_dim": 32}  # vLLM's kernels for CPUs take no 16
    save_model(directory, vocabulary, ids["<|im_end|>"], **changes)
    weights = load_file(directory / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight[0] = 0.0  # nothing is added to the dimension
    weights["model.embed_tokens.weight"][:, 0] = 2.0
    shape = weights["lm_head.weight"].shape
    head = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.4
    head[:, 0] = 0.0
    for marker, weight in (("<|im_end|>", 12.5), ("</think>", 12.0), ("<think>", 12.0)):
        head[ids[marker]] = 0.0
        head[ids[marker], 0] = weight
    weights["lm_head.weight"] = head
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


class Model:
    """The model itself in plain forward passes: no cache, no batch, no engine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._said: dict[tuple[Messages, int], tuple[int, ...]] = {}

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.open(str(self.directory))

    @property
    def prompts(self) -> Prompts:
        return self.checkpoint.prompts

    @property
    def end_ids(self) -> tuple[int, ...]:
        return self.checkpoint.end_ids

    @cached_property
    def markers(self) -> list[str]:
        return sorted(self.prompts.tokenizer.get_added_vocab())

    @cached_property
    def _weights(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.directory, dtype=torch.float32).eval()

    def logits(self, ids: Sequence[int]) -> Any:
        """Of what comes after `ids`: [vocabulary]."""
        import torch

        with torch.inference_mode():
            return self._weights(torch.tensor([ids])).logits[0, -1]

    def first_tokens(self, messages: Messages, temperature: float, top_p: float, top_k: int) -> list[str]:
        """The tokens, as text, that may begin a reply, the likeliest first."""
        probs, ranked = (
            (self.logits(self.prompts.ids(messages)) / temperature).softmax(-1).sort(descending=True)
        )
        before = probs.cumsum(-1) - probs
        kept = [int(i) for i, mass in zip(ranked, before, strict=True) if mass < top_p]
        return [self.text([i]) for i in kept[: top_k or None]]

    def greedy(self, messages: Messages, num: int) -> tuple[int, ...]:
        if (messages, num) not in self._said:
            prompt = self.prompts.ids(messages)
            ids = [*prompt, int(self.logits(prompt).argmax())]
            while len(ids) < len(prompt) + num and ids[-1] not in self.end_ids:
                ids.append(int(self.logits(ids).argmax()))
            self._said[messages, num] = tuple(ids[len(prompt) :])
        return self._said[messages, num]

    def text(self, ids: Sequence[int]) -> str:
        return self.prompts.text([i for i in ids if i not in self.end_ids])


def greedy(model: Any, prompt: tuple[int, ...], num: int, end_id: int) -> tuple[int, ...]:
    """Token by token, the whole sequence each time, no cache."""
    import torch

    ids = list(prompt)
    with torch.inference_mode():
        while len(ids) - len(prompt) < num:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == end_id:
                break
    return tuple(ids[len(prompt) :])
