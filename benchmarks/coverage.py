"""How often 95 % intervals of a before/after gain contain the true gain, by simulation.

    python benchmarks/coverage.py [--json benchmarks/results/coverage.json] [--draws 4000] [--bootstrap-draws 1000]

A draw is an exam taken twice: each question has abilities of its own before (Beta) and after (moved, clipped at 0 and
1), and k = 10 samples of each. Intervals of the same gain: the headline (`intervals`: paired t over questions within
their benchmarks, the rule of three where all differences are equal), the same t, benchmarks pooled, the bootstrap
(`paired`), and the t over runs, which takes the k repetitions as the sample. The intervals over questions and over
runs of pass@1 itself, before: there the repetitions say nothing of which questions were drawn.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

from veridistill.evaluation.intervals import DIFFERENCES, Mean, pooled, pooled_share, t_quantile
from veridistill.evaluation.paired import bootstrap_sums, percentile_interval

DRAWS, SAMPLES, SIZES = 4000, 10, (30, 200)


@dataclass(frozen=True)
class Part:
    """The questions of one benchmark. Abilities: Beta(a, b) before; after them a normal shift of the `moving` share."""

    a: float
    b: float
    shift: float
    spread: float
    moving: float = 1.0

    def abilities(self, rng: Any, num: int) -> tuple[Any, Any]:
        import numpy as np

        before = rng.beta(self.a, self.b, num)
        moves = rng.normal(self.shift, self.spread, num) * (rng.random(num) < self.moving)
        return before, np.clip(before + moves, 0, 1)


@dataclass(frozen=True)
class World:
    """Benchmarks of equal size; `name` says what they are like."""

    name: str
    parts: tuple[Part, ...]


WORLDS = (
    World("easy and hard questions", (Part(0.8, 0.8, 0.06, 0.10),)),
    World("hard exam", (Part(0.5, 2.0, 0.05, 0.10),)),
    World("few questions move", (Part(0.4, 0.4, 0.03, 0.30),)),
    World("always right or always wrong, 5 % move", (Part(0.0005, 0.0005, 1.0, 0.0, 0.1),)),
    World("nearly always, 5 % move", (Part(0.02, 0.02, 1.0, 0.0, 0.1),)),
    World("two benchmarks, one gains", (Part(0.8, 0.8, 0.0, 0.10), Part(0.3, 3.0, 0.40, 0.10))),
)


@dataclass(frozen=True)
class Coverage:
    """Shares of draws whose interval holds the truth; None where not made. Of the gain, then of pass@1 itself.

    `t` is the headline and `alike` the share of draws in which all differences are equal, so that it is by the rule of
    three; `t_alone` takes their interval for empty, as t has it. `together` pools the benchmarks and is
    `wider` times as wide as `t` on average. `understated`: how many times narrower than over questions the interval of
    pass@1 over runs is.
    """

    world: str
    questions: int
    t: float
    alike: float
    t_alone: float
    together: float | None
    wider: float | None
    bootstrap: float | None
    over_runs: float
    level_t: float
    level_over_runs: float
    understated: float


def cover(world: World, questions: int, draws: int, bootstrap_draws: int, seed: int = 7) -> Coverage:
    """`bootstrap_draws` 0 leaves the bootstrap out."""
    import numpy as np

    rng = np.random.default_rng(seed)
    sizes = [questions // len(world.parts)] * len(world.parts)
    population = [part.abilities(rng, 2_000_000) for part in world.parts]
    level = float(np.mean([before.mean() for before, _ in population]))
    gain = float(np.mean([(after - before).mean() for before, after in population]))
    found = [_draw(rng, world, sizes, bootstrap_draws, number) for number in range(draws)]
    several = len(world.parts) > 1

    def held(name: str, truth: float) -> float:
        return fmean(getattr(one, name).holds(truth) for one in found)

    def width(name: str) -> float:
        return fmean(getattr(one, name).width for one in found)

    return Coverage(
        world.name,
        questions,
        t=held("t", gain),
        alike=fmean(one.alike for one in found),
        t_alone=fmean(one.t.holds(gain) and not one.alike for one in found),
        together=held("together", gain) if several else None,
        wider=width("together") / width("t") if several else None,
        bootstrap=held("bootstrap", gain) if bootstrap_draws else None,
        over_runs=held("over_runs", gain),
        level_t=held("level_t", level),
        level_over_runs=held("level_over_runs", level),
        understated=width("level_t") / width("level_over_runs"),
    )


@dataclass(frozen=True)
class _Found:
    low: float
    high: float

    def holds(self, truth: float) -> bool:
        return self.low <= truth <= self.high

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True)
class _Draw:
    """The intervals of one draw, as fractions."""

    t: _Found
    alike: bool
    together: _Found
    bootstrap: _Found
    over_runs: _Found
    level_t: _Found
    level_over_runs: _Found


def _draw(rng: Any, world: World, sizes: list[int], bootstrap_draws: int, number: int) -> _Draw:
    import numpy as np

    olds, news = [], []
    for part, size in zip(world.parts, sizes, strict=True):
        old, new = (rng.random((size, SAMPLES)) < side[:, None] for side in part.abilities(rng, size))
        olds.append(old)
        news.append(new)
    right = [new.astype(int) - old for old, new in zip(olds, news, strict=True)]
    strata = [one.mean(axis=1).tolist() for one in right]
    headline = pooled(strata, DIFFERENCES)
    return _Draw(
        t=_interval(headline),
        alike=headline.method == "rule_of_three",
        together=_interval(pooled([[value for one in strata for value in one]], DIFFERENCES)),
        bootstrap=_bootstrap(strata, bootstrap_draws, number),
        over_runs=_over_runs(np.concatenate(right)),
        level_t=_interval(pooled_share([one.mean(axis=1).tolist() for one in olds])),
        level_over_runs=_over_runs(np.concatenate(olds)),
    )


def _interval(found: Mean) -> _Found:
    assert found.low is not None
    assert found.high is not None
    return _Found(found.low, found.high)


def _bootstrap(strata: list[list[float]], draws: int, number: int) -> _Found:
    if not draws:
        return _Found(0, 0)
    sums = [bootstrap_sums(values, draws, f"{number}/{place}") for place, values in enumerate(strata)]
    found = percentile_interval(map(sum, zip(*sums, strict=True)))
    num = sum(map(len, strata))
    return _Found(found.low / num, found.high / num)


def _over_runs(samples: Any) -> _Found:
    """Questions by samples: each column is a run, and its mean one observation."""
    runs = samples.mean(axis=0)
    half = t_quantile(0.975, SAMPLES - 1) * float(runs.std(ddof=1)) / sqrt(SAMPLES)
    return _Found(float(runs.mean()) - half, float(runs.mean()) + half)


def table(found: list[Coverage]) -> str:
    lines = [
        "| world | questions | gain: t over questions | all equal | benchmarks pooled | bootstrap |"
        " t over runs | pass@1: over questions | t over runs | narrower |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in found:
        bootstrap = "-" if one.bootstrap is None else f"{one.bootstrap:.1%}"
        together = "-" if one.together is None else f"{one.together:.1%}, {one.wider:.1f} times as wide"
        lines.append(
            f"| {one.world} | {one.questions} | {one.t:.1%} | {one.alike:.0%} | {together} | {bootstrap} |"
            f" {one.over_runs:.1%} | {one.level_t:.1%} | {one.level_over_runs:.1%} | {one.understated:.1f} times |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--bootstrap-draws", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    found = []
    for world in WORLDS:
        for questions in SIZES:
            found.append(cover(world, questions, options.draws, options.bootstrap_draws))
            print(f"{world.name}, {questions} questions: done", file=sys.stderr)
    print(table(found))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        command = f"python benchmarks/coverage.py --draws {options.draws} --bootstrap-draws {options.bootstrap_draws}"
        data = {"command": command, "samples": SAMPLES, "coverage": [asdict(one) for one in found]}
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
