"""How many calls the questions of a build will take in all, from what those that are open or done have taken so far.

Questions end in no fair order: those that have ended are the cheap ones, so their mean says too little. Here a question
is a chain of turns, one candidate each, and what is learned are chances by place in the chain: how likely the k-th
candidate is accepted once those before it were not. A question that is still open counts with every turn that it has
behind it, so nothing is lost by looking early, and that hard questions stay hard shows in the chances of the later
places. `range` adds up what is left of every chain, with the uncertainty of the chances and of chance itself.

Fed by `unit`, read by whoever shows progress. Nothing that is asked or kept depends on it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

_WIDE = 2.5
"""Standard deviations on either side."""
_SLACK = 0.08
"""What the model itself may be wrong by, as a share of the calls that are left: rates drift while a build goes on."""
_BEGUN = 0.2
"""The same for each turn under way, as a share of a whole candidate: those that take long are seen longest."""


@dataclass(frozen=True, slots=True)
class Work:
    """What will be asked: questions, most of them lazily and `whole` of them exhaustively.

    `label`: that of a turn's branch; `turns`: candidates of a question at most; `most`: calls of a candidate whose
    every vote is asked. `stops`: whether the first accepted candidate ends a question.
    """

    label: str
    questions: int
    whole: int
    turns: int
    most: int
    stops: bool = True


@dataclass(frozen=True, slots=True)
class Range:
    """Calls in all, replayed ones included."""

    low: int
    middle: int
    high: int


@dataclass(slots=True)
class Mean:
    """A running mean with its variance, which begins as if `value` had been seen once, give or take `spread`."""

    value: float
    spread: float
    num: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.num += 1
        self.total += value
        self.squares += value * value

    @property
    def mean(self) -> float:
        return (self.total + self.value) / (self.num + 1)

    @property
    def variance(self) -> float:
        squares = self.squares + self.value**2 + self.spread**2
        return max(squares / (self.num + 1) - self.mean**2, 0.0)

    @property
    def doubt(self) -> float:
        """The variance of the mean."""
        return self.variance / (self.num + 1)


@dataclass(slots=True)
class Course:
    """What one question has taken so far: calls by candidate, in all, in turns that ended, and how many those are."""

    whole: bool
    calls: dict[object, int] = field(default_factory=dict)
    total: int = 0
    settled: int = 0
    turns: int = 0


class Forecast:
    """The calls of a build, learned while it runs. `used` are those that were made or replayed."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.used = 0
        turns, most = work.turns, work.most
        self._open = [0] * (turns + 1)  # lazy questions by the turns that they have behind them
        self._passed, self._tried = [0] * turns, [0] * turns
        self._passing, self._failing = Mean(most, most / 2), Mean((1 + most) / 2, most / 2)
        self._others = Mean(0.0, most / 4)  # beside the turns: canaries, and what turned out not to be needed
        self._whole = Mean(0.8 * turns * most, 0.25 * turns * most)
        self._settled = self._opened = self._open_whole = self._opened_whole = 0

    @property
    def judged(self) -> int:
        """Candidates whose turn is over."""
        return sum(self._tried)

    @property
    def accepted(self) -> int:
        return sum(self._passed)

    def opened(self, whole: bool) -> Course:
        self._opened += 1
        if whole:
            self._open_whole += 1
            self._opened_whole += 1
        else:
            self._open[0] += 1
        return Course(whole)

    def use(self, course: Course, candidate: object) -> None:
        """A call of a question was answered, by an engine or a journal."""
        self.used += 1
        course.total += 1
        course.calls[candidate] = course.calls.get(candidate, 0) + 1

    def turn(self, course: Course, candidate: object, passed: bool) -> None:
        """The next of a question's candidates was judged."""
        if course.whole or course.turns >= self.work.turns:
            return
        calls = course.calls.get(candidate, 0)
        (self._passing if passed else self._failing).add(calls)
        self._tried[course.turns] += 1
        self._passed[course.turns] += passed
        self._open[course.turns] -= 1
        course.turns = self.work.turns if passed and self.work.stops else course.turns + 1
        self._open[course.turns] += 1
        course.settled += calls
        self._settled += calls

    def closed(self, course: Course) -> None:
        if course.whole:
            self._open_whole -= 1
            self._whole.add(course.total)
        else:
            self._open[course.turns] -= 1
            self._others.add(course.total - course.settled)
        self._settled += course.total - course.settled

    def range(self, questions: tuple[int, int] | None = None, slots: int = 1, idle: bool = False) -> Range:
        """The calls in all; `questions`: at least and at most how many will be asked, where that is not known.

        `slots`: the gate's width. `idle`: whether some of them are filled with calls that may not be needed.
        """
        few, many = questions or (self.work.questions, self.work.questions)
        low, high = self._total(few), self._total(many)
        least, begun = self.used, _BEGUN * self.work.most * min(sum(self._open[:-1]), slots)
        bottom = low[0] - _WIDE * low[1] - _SLACK * max(low[0] - least, 0) - begun
        top = high[0] + _WIDE * high[1] + _SLACK * max(high[0] - least, 0) + begun
        if idle:
            top = max(top, least) + self._unneeded(many)
        middle = max((low[0] + high[0]) / 2, least)
        bottom = max(bottom, least, self._fewest(few))
        return Range(math.floor(bottom), round(max(middle, bottom)), math.ceil(max(top, middle, bottom)))

    def _left(self, questions: int) -> tuple[list[int], int]:
        """Lazy questions by turns behind them and exhaustive ones, those that are not open yet included."""
        work = self.work
        whole = max(round(work.whole * questions / max(work.questions, 1)) - self._opened_whole, 0)
        lazy = max(questions - self._opened - whole, 0)
        return [self._open[0] + lazy, *self._open[1:]], whole + self._open_whole

    def _fewest(self, questions: int) -> int:
        """Calls that cannot be avoided: a question takes one of each candidate, or a whole cascade."""
        chains, whole = self._left(questions)
        turns, most = self.work.turns, self.work.most
        lazy = sum(count * min(turns - behind, most) for behind, count in enumerate(chains))
        return self._settled + lazy + whole * turns

    def _total(self, questions: int) -> tuple[float, float]:
        """The calls in all as a mean and a standard deviation."""
        chains, whole = self._left(questions)
        chances, doubts = self._chances()
        num = sum(chains)

        def mean(chances: list[float], passing: float, failing: float) -> float:
            left = self._chain(chances, passing, failing)
            return sum(count * one for count, one in zip(chains, left, strict=True))

        at = chances, self._passing.mean, self._failing.mean
        middle = mean(*at)
        variance = sum(
            (mean([*chances[:k], _bounded(chance + math.sqrt(doubt)), *chances[k + 1 :]], *at[1:]) - middle)
            ** 2
            for k, (chance, doubt) in enumerate(zip(chances, doubts, strict=True))
        )
        variance += (mean(chances, at[1] + math.sqrt(self._passing.doubt), at[2]) - middle) ** 2
        variance += (mean(chances, at[1], at[2] + math.sqrt(self._failing.doubt)) - middle) ** 2
        variance += self._of_chance(chains, chances)
        variance += whole**2 * self._whole.doubt + whole * self._whole.variance
        variance += num**2 * self._others.doubt + num * self._others.variance
        return (
            self._settled + middle + whole * self._whole.mean + num * self._others.mean,
            math.sqrt(variance),
        )

    def _chances(self) -> tuple[list[float], list[float]]:
        """Each place's chance to be accepted, and its variance; one that is hardly known is like the one before."""
        chances: list[float] = []
        doubts: list[float] = []
        for passed, tried in zip(self._passed, self._tried, strict=True):
            before = chances[-1] if chances else 0.5
            chances.append((passed + before) / (tried + 1))
            doubts.append((chances[-1] * (1 - chances[-1]) + 0.05 / (tried + 1)) / (tried + 2))
        return chances, doubts

    def _chain(self, chances: list[float], passing: float, failing: float) -> list[float]:
        """Expected calls that are left after each number of turns."""
        left = [0.0]
        for chance in reversed(chances):
            on = left[-1]
            left.append(chance * (passing + (0.0 if self.work.stops else on)) + (1 - chance) * (failing + on))
        return left[::-1]

    def _of_chance(self, chains: list[int], chances: list[float]) -> float:
        """The variance that is left even if all chances were known."""
        passing, failing = self._passing, self._failing
        variance, mean, squares = 0.0, 0.0, 0.0
        for count, chance in zip(reversed(chains[:-1]), reversed(chances), strict=True):
            ends = chance if self.work.stops else 0.0
            on, on_squares = mean, squares
            step = passing.mean if self.work.stops else chance * passing.mean + (1 - chance) * failing.mean
            spread = passing.variance if self.work.stops else passing.variance + failing.variance
            step_on = failing.mean if self.work.stops else step
            spread_on = failing.variance if self.work.stops else spread
            mean = ends * step + (1 - ends) * (step_on + on)
            squares = ends * (step**2 + spread) + (1 - ends) * (
                step_on**2 + spread_on + 2 * step_on * on + on_squares
            )
            variance += count * max(squares - mean**2, 0.0)
        return variance

    def _unneeded(self, questions: int) -> float:
        """What idle slots may ask and then not need: of each question the candidate under way, and those after it."""
        chains, _ = self._left(questions)
        later = sum(count * max(self.work.turns - turns - 1, 0) for turns, count in enumerate(chains))
        return later * self._failing.mean + sum(chains[:-1]) * self.work.most


def _bounded(chance: float) -> float:
    return min(max(chance, 0.0), 1.0)


Questions = Callable[[], tuple[int, int]]
"""At least and at most how many questions will be asked."""
