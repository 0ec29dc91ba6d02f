"""The log probabilities of labels without the logits: tile by tile over the vocabulary, where there are labels alone.

With a vocabulary of 150,000, the logits of a row of 450 tokens hold 270 MB, and their softmax and gradient as much
again. Here a tile holds `_TILE` bytes, and is computed again for the gradient. TRL's fused head does the same on a GPU
with kernels; on a CPU its tiles are of 4,096 positions by 32,768 words, prompts included, and it computes an entropy
that nobody reads.
"""

from functools import cache
from typing import Any

from veridistill.training.rows import IGNORED

_TILE = 16 << 20  # bytes in float32
_SCALES = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "output_multiplier",
    "lm_head_multiplier",
)


def is_plain(model: Any) -> bool:
    """Whether the logits are the hidden states times the head's weights, and the loss has no other term."""
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    scaled = any(getattr(config, name, None) not in (None, 1.0) for name in _SCALES)
    experts = getattr(config, "output_router_logits", None) is not None
    return not scaled and not experts and head is not None and head.bias is None


def label_log_probs(model: Any, inputs: dict[str, Any]) -> Any:
    """The log probability of every label of a batch, as one vector in float32; `inputs` holds the `labels`.

    The position before a label predicts it. Multiplies in the dtype of autocast, where it is on.
    """
    labels = inputs["labels"][:, 1:]
    rest = {name: value for name, value in inputs.items() if name != "labels"}
    states = model.base_model(**rest, use_cache=False).last_hidden_state[:, :-1]
    chosen = labels != IGNORED
    return log_probs(states[chosen], model.get_output_embeddings().weight, labels[chosen])


def log_probs(states: Any, weight: Any, targets: Any) -> Any:
    """log softmax(states @ weight.T) at `targets`: states (n, d), weight (v, d), targets (n) give (n) in float32."""
    return _function().apply(states, weight, targets)


@cache
def _function() -> Any:
    import torch

    def tiles(num: int, vocabulary: int) -> list[slice]:
        width = max(_TILE // (4 * max(num, 1)), 64)
        return [slice(start, min(start + width, vocabulary)) for start in range(0, vocabulary, width)]

    def dtype(states: Any) -> Any:
        kind = states.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype

    class LogProbs(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, states: Any, weight: Any, targets: Any) -> Any:
            ctx.products = dtype(states)
            small = states.to(ctx.products)
            total = torch.full(targets.shape, -torch.inf, device=states.device)
            found = torch.zeros_like(total)
            for tile in tiles(len(targets), len(weight)):
                logits = (small @ weight[tile].to(ctx.products).T).float()
                here = (targets >= tile.start) & (targets < tile.stop)
                found[here] = logits[here, targets[here] - tile.start]
                total = torch.logaddexp(total, logits.logsumexp(-1))
            ctx.save_for_backward(states, weight, targets, total)
            return found - total

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            states, weight, targets, total = ctx.saved_tensors
            small, column = states.to(ctx.products), gradient.unsqueeze(-1)
            of_states = torch.zeros_like(states, dtype=torch.float32) if ctx.needs_input_grad[0] else None
            of_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
            for tile in tiles(len(targets), len(weight)):
                part = weight[tile].to(ctx.products)
                inner = (small @ part.T).float().sub_(total.unsqueeze(-1)).exp_().neg_()
                here = (targets >= tile.start) & (targets < tile.stop)
                inner[here, targets[here] - tile.start] += 1
                inner = inner.mul_(column).to(ctx.products)
                if of_states is not None:
                    of_states += inner @ part
                if of_weight is not None:
                    of_weight[tile] = inner.T @ small
            return None if of_states is None else of_states.to(states.dtype), of_weight, None

    return LogProbs
