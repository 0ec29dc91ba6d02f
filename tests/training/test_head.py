"""The loss without the logits is the loss with them, in value and in gradient."""

from types import SimpleNamespace
from typing import Any

import pytest

from veridistill.training import head
from veridistill.training.rows import IGNORED
from veridistill.training.trainer import losses


def problem(num: int = 37, width: int = 24, vocabulary: int = 1000) -> tuple[Any, Any, Any]:
    import torch

    made = torch.Generator().manual_seed(0)
    states = torch.randn(num, width, generator=made).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=made).requires_grad_()
    targets = torch.randint(vocabulary, (num,), generator=made)
    targets[:2] = torch.tensor([0, vocabulary - 1])
    return states, weight, targets


@pytest.mark.parametrize("tile", [1, 37 * 4 * 300, 1 << 30], ids=["narrow", "ragged", "one"])
@pytest.mark.parametrize("kind", ["nll", "dft"])
def test_it_equals_the_full_loss(monkeypatch: pytest.MonkeyPatch, tile: int, kind: str) -> None:
    import torch

    monkeypatch.setattr(head, "_TILE", tile)
    states, weight, targets = problem()
    full = losses((states @ weight.T).log_softmax(-1).gather(-1, targets[:, None])[:, 0], kind)
    ours = losses(head.log_probs(states, weight, targets), kind)
    torch.testing.assert_close(ours, full, rtol=1e-6, atol=1e-6)
    wanted = torch.autograd.grad(full.sum(), (states, weight))
    found = torch.autograd.grad(ours.sum(), (states, weight))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_in_bfloat16_it_is_as_near_to_float32_as_the_full_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(head, "_TILE", 37 * 4 * 100)
    states, weight, targets = problem(width=64)
    states = (states / 8).detach().requires_grad_()

    def gradients(ours: bool, half: bool) -> tuple[Any, ...]:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            if ours:
                found = head.log_probs(states, weight, targets)
            else:
                logits = torch.nn.functional.linear(states, weight).float()
                found = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        return torch.autograd.grad(-found.sum(), (states, weight))

    exact = gradients(ours=False, half=False)
    for wanted, ours, full in zip(exact, gradients(True, True), gradients(False, True), strict=True):
        assert (ours - wanted).norm() < 1.5 * (full - wanted).norm()


def test_a_batch_is_scored_where_it_has_labels(base: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert head.is_plain(model)
    ids = torch.randint(250, (3, 20), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :7] = IGNORED
    labels[1, 15:] = IGNORED
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    found = head.label_log_probs(model, inputs)
    assert len(found) == 13 + 8 + 13
    assert abs(-found.mean().item() - model(**inputs).loss.item()) < 1e-6


def test_a_row_without_labels_learns_nothing() -> None:
    states, weight, targets = problem(num=4)
    head.log_probs(states[:0], weight, targets[:0]).sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.mark.parametrize(
    ("config", "bias", "plain"),
    [
        ({}, None, True),
        ({"logit_scale": 1.0}, None, True),
        ({"final_logit_softcapping": 30.0}, None, False),
        ({"logits_scaling": 8.0}, None, False),
        ({"output_router_logits": False}, None, False),
        ({}, "bias", False),
    ],
)
def test_other_heads_are_left_to_trl(config: dict[str, Any], bias: str | None, plain: bool) -> None:
    inner = SimpleNamespace(**config)
    model = SimpleNamespace(
        config=SimpleNamespace(get_text_config=lambda: inner),
        get_output_embeddings=lambda: SimpleNamespace(bias=bias),
    )
    assert head.is_plain(model) is plain
