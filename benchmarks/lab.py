"""The lab's study: three arms from the same base on the same questions, for several run seeds.

    python benchmarks/lab.py [--seeds 0,1,2] [--out runs/lab-study] [--json benchmarks/results/lab.json] [--quick]

`cascade` is the demonstration's run (`veridistill run lab`). `unfiltered` trains on candidate 0 of each question,
unjudged; `oracle` on the first right candidate, by the world's answers. Both read the cascade's journal and ask
only for what it lacks, so all arms choose among the same candidates, and the base model is evaluated once per run seed.
Afterwards the accepted candidates are compared with the world's answers.

About ten minutes per run seed on two quiet cores. An interrupted study resumes with the same command.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arms import ORACLE, add_oracle, selecting

from veridistill import config as configuration
from veridistill.data import tables
from veridistill.data.rundir import RunDir, forked_journals, opened, read_json, write_json
from veridistill.evaluation.statistics import Gain, Means, gain, pooled_gain, question_means
from veridistill.grading.graders import Graders
from veridistill.lab import quality
from veridistill.report.progress import Progress
from veridistill.runs import pipeline, results
from veridistill.runs import quality as limits
from veridistill.runs.session import Session, serving

DEMO = configuration.preset_file("lab")
ARMS = {"cascade": "first", "unfiltered": "unfiltered", "oracle": ORACLE}
"""Each arm is a selection of `method.SELECTIONS`; the first arm's journal serves the others."""
QUICK = (
    "seeds.limit=96", "evaluation.limit=24", "evaluation.samples=2", "train.epochs=1", "generate.candidates=4",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """The results of one arm for one run seed: the exams' means per problem (0 to 1), and results.json."""

    base: Means
    after: Means
    examples: int
    results: dict[str, Any]

    @property
    def gain(self) -> Gain:
        return gain(self.base, self.after)


def main() -> None:
    args = _arguments()
    out = args.out.with_name(args.out.name + "-quick") if args.quick else args.out
    overrides = [*(QUICK if args.quick else ()), *args.sets]
    runs = {seed: _seed(out / f"seed-{seed}", seed, overrides, args.arms) for seed in args.seeds}
    study = {"command": _command(args), **summarised(runs, out)}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.json, study)
    print(table(study))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", default="0,1,2", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--arms", default=",".join(ARMS), type=lambda text: text.split(","))
    parser.add_argument("--out", default=Path("runs/lab-study"), type=Path)
    parser.add_argument("--json", default=None, type=Path)
    parser.add_argument("--quick", action="store_true", help="run a tiny study, to check that it works")
    parser.add_argument("-o", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    if args.arms[:1] != ["cascade"] or not set(args.arms) <= set(ARMS):
        parser.error(f"--arms must start with cascade and name some of {', '.join(ARMS)}")
    if args.json is None:
        args.json = args.out / "lab-quick.json" if args.quick else Path("benchmarks/results/lab.json")
    return args


def _command(args: argparse.Namespace) -> str:
    parts = ["python benchmarks/lab.py", "--seeds", ",".join(map(str, args.seeds))]
    parts += ["--quick"] * args.quick + [part for one in args.sets for part in ("-o", one)]
    return " ".join(parts)


# --- running ------------------------------------------------------------------------------------------------


def _seed(folder: Path, seed: int, overrides: list[str], arms: list[str]) -> dict[str, Arm]:
    config = configuration.load(DEMO, [*overrides, f"seed={seed}"])
    done = {}
    for arm in arms:
        where = folder / arm
        if read_json(where / "results.json").get("status") != "complete":
            print(f"run seed {seed}, arm {arm}: {where}", file=sys.stderr)
            with _opened(where, config, folder / "cascade") as run:
                asyncio.run(_arm(Session(run, Progress(run.path, "auto")), ARMS[arm]))
        done[arm] = _read(where)
    return done


@contextmanager
def _opened(where: Path, config: configuration.Config, first: Path) -> Iterator[RunDir]:
    older = forked_journals(first) if where != first else ()
    with opened(where, config, older) as run:
        yield run


async def _arm(session: Session, selection: str) -> None:
    """One round as in `pipeline.run`, with the arm's selection."""
    results.start(session.run)
    async with Graders() as graders:
        add_oracle(lambda seed, candidate: quality.is_right(seed.question, candidate.answer, graders))
        await _round(session, selection)
    pipeline.report(session.run)


async def _round(session: Session, selection: str) -> None:
    with results.step(session.run, done="complete"):
        async with serving(session, 1) as served:
            base = selecting(served, selection)
            await pipeline.build(session, base, 1)
            await pipeline.examine(session, base, "base", 1, pipeline.problems(session))
        limits.check(session, 1)
        await pipeline.train(session, 1)
        async with serving(session, 2) as after:
            await pipeline.examine(session, after, "after", 1, pipeline.problems(session))


def _read(where: Path) -> Arm:
    folder = where / "rounds" / "1" / "tables"
    means = [
        question_means(tables.ATTEMPTS.read(folder / f"exam_{which}.parquet")) for which in ("base", "after")
    ]
    found = read_json(where / "results.json")
    return Arm(means[0], means[1], found["rounds"][0]["examples"], found)


# --- summing up ---------------------------------------------------------------------------------------------


def summarised(runs: dict[int, dict[str, Arm]], out: Path) -> dict[str, Any]:
    """The figures of each run seed, and pooled over them. Gains are in points, with 95 % intervals."""
    first = next(iter(runs.values()))["cascade"].results
    return {
        "versions": first["versions"],
        "model": first["fingerprints"]["base"],
        "config": {name: value for name, value in first["config"].items() if name != "seed"},
        "seeds": {str(seed): _of_seed(arms, out / f"seed-{seed}") for seed, arms in runs.items()},
        "pooled": _pooled(list(runs.values())),
    }


def _of_seed(arms: dict[str, Arm], folder: Path) -> dict[str, Any]:
    measured = asyncio.run(_quality(folder / "cascade" / "rounds" / "1" / "tables"))
    cascade = arms["cascade"].results
    return {
        "base": cascade["base"],
        "arms": {name: _of_arm(arm) for name, arm in arms.items()},
        "judged": measured.judged.summary(),
        "candidate_0": measured.first.summary(),
        "ended_by": measured.ended_by,
        "funnel": cascade["funnel"],
        "seconds": {name: arm.results["seconds"] for name, arm in arms.items()},
        "share_of_oracle": _share(arms["cascade"].gain, arms["oracle"].gain) if "oracle" in arms else None,
    }


async def _quality(tables_folder: Path) -> quality.Quality:
    async with Graders() as graders:
        return await quality.of_build(tables_folder, graders)


def _of_arm(arm: Arm) -> dict[str, Any]:
    after = arm.results["after"]
    return {
        "examples": arm.examples,
        "pass_at_1": after["pass_at_1"],
        "se": after["se"],
        "gain": asdict(arm.gain),
    }


def _pooled(runs: list[dict[str, Arm]]) -> dict[str, Any]:
    gains = {arm: pooled_gain([(one[arm].base, one[arm].after) for one in runs]) for arm in runs[0] if runs}
    over = {
        f"cascade_over_{arm}": asdict(pooled_gain([(one[arm].after, one["cascade"].after) for one in runs]))
        for arm in gains
        if arm != "cascade"
    }
    shares = {"share_of_oracle": _share(gains["cascade"], gains["oracle"])} if "oracle" in gains else {}
    return {"gain": {arm: asdict(value) for arm, value in gains.items()}, **over, **shares}


def _share(part: Gain, whole: Gain) -> float | None:
    return round(part.mean / whole.mean, 3) if whole.mean > 0 else None


# --- printing -----------------------------------------------------------------------------------------------


def table(study: dict[str, Any]) -> str:
    """A line for each arm of each run seed, then the judges, for a terminal."""
    lines = [f"{'seed':7} {'arm':11} {'examples':>8} {'base':>6} {'after':>6}  gain, 95 % interval"]
    for seed, found in study["seeds"].items():
        lines += [
            f"{seed:7} {name:11} {arm['examples']:8} {found['base']['pass_at_1']:6.1f} {arm['pass_at_1']:6.1f}"
            f"  {_interval(arm['gain'])}"
            for name, arm in found["arms"].items()
        ]
    for name, value in study["pooled"]["gain"].items():
        lines.append(f"{'pooled':7} {name:11} {'':8} {'':6} {'':6}  {_interval(value)}")
    for name, value in study["pooled"].items():
        if name.startswith("cascade_over_"):
            lines.append(f"cascade over {name.removeprefix('cascade_over_')}: {_interval(value)}")
    lines.append(f"share of the oracle's gain: {_percent(study['pooled'].get('share_of_oracle'))}")
    for seed, found in study["seeds"].items():
        judged, first = found["judged"], found["candidate_0"]
        lines.append(
            f"seed {seed}: right among candidates 0 {_percent(first['share_right'])}, among all judged"
            f" {_percent(judged['share_right'])}, among accepted {_percent(judged['precision'])};"
            f" recall {_percent(judged['recall'])}"
        )
    return "\n".join(lines)


def _interval(value: dict[str, Any]) -> str:
    low, high = (("?" if value[end] is None else f"{value[end]:+.1f}") for end in ("low", "high"))
    return f"{value['mean']:+5.1f} [{low}, {high}]"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


if __name__ == "__main__":
    main()
