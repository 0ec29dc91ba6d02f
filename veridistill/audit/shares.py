"""Shares with 95 % intervals by Wilson, and shares of candidates over the questions that they belong to. Pure.

Standard library only: builds use it, and need no packages of an extra.
"""

from dataclasses import dataclass
from math import isclose, sqrt
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """A share of candidates with its 95 % interval over questions; all None where there are no candidates."""

    rate: float | None
    low: float | None
    high: float | None


@dataclass(slots=True)
class Clustered:
    """A share of candidates when questions, not candidates, were drawn: sums over questions (hits h of size n)."""

    questions: int = 0
    hits: int = 0
    size: int = 0
    hits_squared: int = 0
    size_squared: int = 0
    hits_by_size: int = 0

    def add(self, hits: int, size: int) -> None:
        """One question: `hits` of its `size` candidates."""
        if size:
            self.questions += 1
            self.hits += hits
            self.size += size
            self.hits_squared += hits * hits
            self.size_squared += size * size
            self.hits_by_size += hits * size

    @property
    def share(self) -> Share:
        """The ratio of sums, with Wilson's interval at the effective number of candidates."""
        if not self.size:
            return Share(None, None, None)
        rate, effective = self.hits / self.size, self._effective_size()
        interval = wilson(rate * effective, effective)
        return Share(rate, interval.low, interval.high)

    def _effective_size(self) -> float:
        """The number of independent candidates with as much information (Kish 1965: size over design effect).

        The variance of the ratio is linearised over questions. The result is at most the number of candidates, and the
        number of questions if all candidates are equal, so that the variance cannot be estimated.
        """
        rate = self.hits / self.size
        simple = rate * (1 - rate)
        squares = self.hits_squared - 2 * rate * self.hits_by_size + rate * rate * self.size_squared
        if self.questions < 2 or simple == 0 or isclose(squares, 0, abs_tol=1e-9):
            return float(self.questions)
        variance = squares * self.questions / (self.questions - 1) / self.size**2
        return min(float(self.size), simple / variance)


def share_of(hits: int, size: int) -> Share:
    """The share `hits / size` of independent draws, with Wilson's interval."""
    if not size:
        return Share(None, None, None)
    interval = wilson(hits, size)
    return Share(hits / size, interval.low, interval.high)


def wilson(successes: float, num: float) -> Interval:
    """Wilson's 95 % score interval of a proportion, as fractions (Wilson 1927): never empty, also at 0 and 1.

    Raises ValueError for an impossible proportion.
    """
    if not 0 <= successes <= num or num == 0:
        raise ValueError(
            f"successes must be between 0 and num, and num at least 1; found {successes} of {num}"
        )
    share, z2 = successes / num, _Z * _Z / num
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z / (1 + z2) * sqrt(share * (1 - share) / num + z2 / (4 * num))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(0.0 if successes == 0 else low, 1.0 if successes == num else high)
