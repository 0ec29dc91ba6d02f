"""Sampling for a batch of rows that differ in temperature, top_k, top_p and seed.

A row's random numbers are a hash of its seed and of how many tokens it has, so its tokens depend neither on the other
rows nor on when it was decoded.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_REDRAWS = 8  # rejected draws of a token before the exact fallback


class Sampler:
    """Draws one token for each row from its temperature, top_k and top_p, by its seed and position alone.

    A draw is inverse-CDF in vocabulary order, with a uniform from `uniforms`. top_k and top_p are applied
    by rejection: the drawn token is kept if it is among the k most likely and the mass above it is less
    than top_p (of the mass of those k); else it is drawn again with another uniform. That samples the
    filtered distribution exactly and sorts nothing; only rows that were refused `_REDRAWS` times are
    sorted. Tokens as likely as the last one kept are kept too.
    """

    def __init__(self, floats: "Tensor", top_k: "Tensor", seeds: "Tensor") -> None:
        self._temperature, self._top_p, self._top_k, self._seeds = floats[:, :1], floats[:, 1], top_k, seeds
        self._greedy = self._temperature[:, 0] <= 0
        self._any_greedy = bool(self._greedy.any())
        self._scale = self._temperature.masked_fill(self._temperature <= 0, 1.0)
        self._filtered = bool(((self._top_p < 1) | (top_k > 0)).any())
        self._both = bool(((self._top_p < 1) & (top_k > 0)).any())

    def __call__(self, logits: "Tensor", position: "Tensor") -> "Tensor":
        """Tokens [n] from logits [n, vocabulary]; `position` [n] counts the tokens sampled before."""
        import torch

        logits = logits.float()
        probs = (logits / self._scale).softmax(-1)
        token = (
            self._filter(probs, position)
            if self._filtered
            else _draw(probs, uniforms(self._seeds, position, 0))
        )
        return torch.where(self._greedy, logits.argmax(-1), token) if self._any_greedy else token

    def _filter(self, probs: "Tensor", position: "Tensor") -> "Tensor":
        import torch

        size = probs.shape[1]
        top_k = torch.where(self._top_k > 0, self._top_k.clamp(max=size), size)
        bound = self._top_p * _mass_of_top(probs, top_k) if self._both else self._top_p
        token = _draw(probs, uniforms(self._seeds, position, 0))
        left = self._refused(probs, token, top_k, bound).nonzero().flatten()
        for attempt in range(1, _REDRAWS):
            if not len(left):
                return token
            rows = probs[left]
            token[left] = _draw(rows, uniforms(self._seeds[left], position[left], attempt))
            left = left[self._refused(rows, token[left], top_k[left], bound[left], self._top_p[left])]
        if len(left):
            uniform = uniforms(self._seeds[left], position[left], _REDRAWS)
            token[left] = _draw_sorted(probs[left], uniform, top_k[left], bound[left])
        return token

    def _refused(
        self,
        probs: "Tensor",
        token: "Tensor",
        top_k: "Tensor",
        bound: "Tensor",
        top_p: "Tensor | None" = None,
    ) -> "Tensor":
        above = probs > probs.gather(1, token[:, None])
        open_end = (self._top_p if top_p is None else top_p) >= 1
        return (above.sum(-1) >= top_k) | (((probs * above).sum(-1) >= bound) & ~open_end)


def _mass_of_top(probs: "Tensor", top_k: "Tensor") -> "Tensor":
    """The mass [n] of each row's `top_k` [n] most likely tokens; 1 where that is all of them."""
    import torch

    limited = top_k < probs.shape[1]
    most = int(torch.where(limited, top_k, 1).max())
    mass = probs.topk(most).values.cumsum(-1).gather(1, top_k.clamp(max=most)[:, None] - 1)[:, 0]
    return torch.where(limited, mass, 1.0)


def _draw(probs: "Tensor", uniform: "Tensor") -> "Tensor":
    """Inverse CDF in vocabulary order; float64 sums, so that a large vocabulary loses nothing."""
    import torch

    sums = probs.cumsum(-1, dtype=torch.float64)
    found = torch.searchsorted(sums, uniform[:, None] * sums[:, -1:], right=True)[:, 0]
    return found.clamp_(max=probs.shape[1] - 1)


def _draw_sorted(probs: "Tensor", uniform: "Tensor", top_k: "Tensor", bound: "Tensor") -> "Tensor":
    """Inverse CDF over the sorted and cut distribution."""
    import torch

    ranked, order = probs.sort(dim=-1, descending=True, stable=True)
    sums = ranked.cumsum(-1, dtype=torch.float64)
    kept = torch.minimum((sums < bound[:, None]).sum(-1) + 1, top_k)[:, None]
    target = uniform[:, None] * sums.gather(1, kept - 1)
    rank = torch.minimum((sums <= target).sum(-1, keepdim=True), kept - 1)
    return order.gather(1, rank)[:, 0]


def uniforms(seeds: "Tensor", position: "Tensor", attempt: int) -> "Tensor":
    """Numbers [n] in [0, 1), a hash of (seed, position, attempt): two rounds of splitmix64's mixer."""
    import torch

    mixed = (seeds << 32) + (position << 4) + attempt
    for _ in range(2):
        mixed = mixed + _signed(0x9E3779B97F4A7C15)
        mixed = (mixed ^ _shifted(mixed, 30)) * _signed(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ _shifted(mixed, 27)) * _signed(0x94D049BB133111EB)
        mixed = mixed ^ _shifted(mixed, 31)
    return _shifted(mixed, 11).to(torch.float64) * 2.0**-53


def _signed(constant: int) -> int:
    return constant - (1 << 64)


def _shifted(value: "Tensor", bits: int) -> "Tensor":
    """A logical right shift of int64."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
