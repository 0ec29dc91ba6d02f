"""Sampling for a batch of rows that differ in temperature, top_k, top_p and seed.

A row's random numbers are a hash of its seed and of how many tokens it has, so its tokens depend neither on the other
rows nor on when it was decoded. A row's logits come as the model made them; what may not be said is for whoever
calls to mask (with -inf) before.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_CANDIDATES = 512  # the likeliest tokens, looked at first; of a small vocabulary an eighth, at least 64
_AT_ONCE = 1 << 20  # logits of which temporary copies are made: they fit a processor's cache


class Sampler:
    """Draws one token for each row from its temperature, top_k and top_p, by its seed and position alone.

    A draw is inverse-CDF over the tokens in order of probability, cut where top_k or top_p cuts: top_k first, then the
    fewest tokens that hold top_p of the mass of those k. Nearly always the most likely `_CANDIDATES` tokens and the
    mass of the whole vocabulary decide it; a row whose draw they cannot decide is sorted whole, with the same number.
    """

    def __init__(self, floats: "Tensor", top_k: "Tensor", seeds: "Tensor") -> None:
        self._temperature, self._top_p, self._top_k, self._seeds = floats[:, :1], floats[:, 1], top_k, seeds
        self._greedy = self._temperature[:, 0] <= 0
        self._any_greedy = bool(self._greedy.any())
        self._all_greedy = bool(self._greedy.all())
        self._scale = self._temperature.masked_fill(self._temperature <= 0, 1.0)

    def __call__(self, logits: "Tensor", position: "Tensor") -> "Tensor":
        """Tokens [n] from logits [n, vocabulary]; `position` [n] counts the tokens sampled before."""
        import torch

        if self._all_greedy:
            return logits.argmax(-1)
        token = self._drawn(logits, uniforms(self._seeds, position))
        return torch.where(self._greedy, logits.argmax(-1), token) if self._any_greedy else token

    def _drawn(self, logits: "Tensor", uniform: "Tensor") -> "Tensor":
        whole = logits.shape[1]
        top = logits.topk(min(_CANDIDATES, max(64, whole // 8), whole))
        mass = (top.values.float() / self._scale - _log_mass(logits, self._scale)).exp()
        drawn = _draw(mass, whole, self._top_k, self._top_p, uniform)
        token = top.indices.gather(1, drawn.rank[:, None])[:, 0]
        left = (drawn.undecided & ~self._greedy).nonzero().flatten()
        if len(left):
            ranked, order = (logits[left].float() / self._scale[left]).softmax(-1).sort(descending=True)
            rank = _draw(ranked, whole, self._top_k[left], self._top_p[left], uniform[left]).rank
            token[left] = order.gather(1, rank[:, None])[:, 0]
        return token


@dataclass(frozen=True, slots=True)
class _Draw:
    """Ranks [n], and where they are not what the whole distribution would give [n]."""

    rank: "Tensor"
    undecided: "Tensor"


def _draw(mass: "Tensor", whole: int, top_k: "Tensor", top_p: "Tensor", uniform: "Tensor") -> _Draw:
    """Draw from the `mass` [n, seen] of the most likely of `whole` tokens, in descending order.

    Sums are in float64, so that a large vocabulary loses nothing.
    """
    import torch

    seen = mass.shape[1]
    sums = mass.cumsum(-1, dtype=torch.float64)
    most = torch.where(top_k > 0, top_k.clamp(max=whole), whole)
    total = torch.where(most <= seen, _at(sums, most), 1.0)  # of the `most` likeliest; 1 is that of all
    bound = torch.where(top_p < 1, top_p * total, torch.inf)
    kept = torch.minimum((sums < bound[:, None]).sum(-1) + 1, most)
    target = uniform * torch.where(kept <= seen, _at(sums, kept), total)
    rank = torch.minimum((sums <= target[:, None]).sum(-1), kept - 1)
    known = (most <= seen) | (most == whole)
    decided = known & (rank < seen) & ((kept <= seen) | (top_p >= 1))
    return _Draw(rank.clamp(max=seen - 1), ~decided)


def _at(sums: "Tensor", count: "Tensor") -> "Tensor":
    """The sum of the first `count` [n], or of all that are there."""
    return sums.gather(1, count.clamp(max=sums.shape[1])[:, None] - 1)[:, 0]


def _log_mass(logits: "Tensor", scale: "Tensor") -> "Tensor":
    """log Σ exp(logits / scale) [n, 1], in float32, a few rows at a time."""
    import torch

    rows = max(1, _AT_ONCE // logits.shape[1])
    parts = zip(logits.split(rows), scale.split(rows), strict=True)
    return torch.cat([(part.float() / by).logsumexp(-1, keepdim=True) for part, by in parts])


def uniforms(seeds: "Tensor", position: "Tensor") -> "Tensor":
    """Numbers [n] in [0, 1), a hash of (seed, position): two rounds of splitmix64's mixer."""
    import torch

    mixed = (seeds << 32) + position
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
