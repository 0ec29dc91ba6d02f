"""The whole method on a real model and public questions: build, judge, train, examine, beside what it is compared with.

    python benchmarks/real.py --model DIR --data DIR --domain math|science|code --out DIR --json FILE
                              [--scale cpu|full] [--name NAME] [--phases a,b,...] [sizes] [-o KEY=VALUE]

DATA holds the files that `public` describes. Every piece is a run directory below OUT/NAME/DOMAIN, made by the commands
that a user types: the base model's exam; a build that asks everything; four arms trained on equally many examples of
the same candidates (the first accepted one, candidate 0, the one with the likeliest yes, the first right one); the
cascade at test time; a fork of the build with more votes on a fifth of the questions; and a small exam of the other
domains. Answers to the seed questions are read by the measurement alone, after the build. The same command goes on
after an interruption. FILE is written after each phase: its `complete` says which are done.
"""

import argparse
import signal
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import measured
import public
import yaml
from steps import VERIDISTILL, StepFailed, Steps

from veridistill.data.rundir import read_json, stored_config, write_json
from veridistill.data.tables import CANDIDATES

ARMS = ("cascade", "unfiltered", "soft", "oracle")
PHASES = ("base", "build", "judges", "scores", *ARMS, "ttc", "votes", "others")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is asked and trained. `tokens` is the longest reply; `recheck` the votes on a fifth of the questions.

    `examples` is the most that an arm trains on; without `steps`, training makes two passes over them.
    """

    seeds: int = 80
    candidates: int = 4
    votes: int = 1
    recheck: int = 3
    tokens: int = 400
    exam: int = 100
    samples: int = 2
    ttc: int = 40
    others: int = 40
    examples: int = 60
    steps: int = 8
    batch: int = 8


SCALES = {
    "cpu": Sizes(),
    "full": Sizes(
        seeds=600, candidates=4, votes=3, recheck=5, tokens=2_048, exam=300, samples=4, ttc=100, others=100,
        examples=600, steps=36, batch=32,
    ),
}  # fmt: skip
SCALE_SETTINGS: dict[str, dict[str, Any]] = {
    # Decoding 64 sequences in bfloat16 is fastest on two cores (docs/measurements.md). Training keeps float32 weights.
    "cpu": {"model.dtype": "bfloat16", "engine.kind": "local", "engine.batch_size": 64, "train.micro_batch_size": 1},
    "full": {"engine.kind": "vllm", "train.micro_batch_size": 4, "train.gradient_checkpointing": True},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Study:
    """One domain on one model: its folder, its sizes, and the settings that every command gets."""

    folder: Path
    domain: str
    sizes: Sizes
    sets: tuple[str, ...]

    @property
    def steps(self) -> Steps:
        return Steps(self.folder)

    @property
    def build(self) -> Path:
        return self.folder / "build"

    @property
    def labels(self) -> Path:
        return self.folder / "labels.jsonl"

    def arm(self, name: str) -> Path:
        return self.folder / name

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def run(
        self, name: str, *command: Any, output: str | None = None, sets: dict[str, Any] | None = None
    ) -> None:
        """A command of veridistill with the study's settings and some more, as a step."""
        more = [part for key, value in (sets or {}).items() for part in ("-o", f"{key}={value}")]
        given = [part for one in self.sets for part in ("-o", one)]
        self.steps.do(
            name, [*VERIDISTILL, *map(str, command), *given, *more], self.folder / output if output else None
        )


def settings(study: Study, model: str, scale: str, learning_rate: float) -> dict[str, Any]:
    """The configuration, as a user would write it."""
    sizes = study.sizes
    reply = {"max_tokens": sizes.tokens}
    found: dict[str, Any] = {
        "model": {"path": model},
        "seeds": {
            "path": str(study.file("seeds")),
            "id": "id",
            "domain": study.domain,
            **public.QUESTIONS[study.domain],
            "limit": sizes.seeds,
            "decontaminate": [str(study.file("exam"))],
        },
        "generate": {"candidates": sizes.candidates, **reply},
        "judge": {"votes": sizes.votes, **reply},
        "build": {"asks": "exhaustive", "extra_stages": ["simple"], "canary_share": 0.1},
        "train": {"max_steps": sizes.steps, "batch_size": sizes.batch, "learning_rate": learning_rate},
        "evaluation": {
            "problems": str(study.file("exam")),
            "samples": sizes.samples,
            "allow_code_execution": True,
            **reply,
        },
        # What is measured here is reported, whatever it is.
        "quality": {"min_kept": 0, "max_invalid": 1, "max_canaries": 1},
    }
    for name, value in SCALE_SETTINGS[scale].items():
        section, field = name.split(".")
        found.setdefault(section, {})[field] = value
    return found


# --- the phases -------------------------------------------------------------------------------------------------


def base(study: Study) -> None:
    study.run("base", "evaluate", study.folder / "run.yaml", "--out", study.build)


def build(study: Study) -> None:
    study.run("build", "build", study.folder / "run.yaml", "--out", study.build, "--json")


def judges(study: Study) -> None:
    """Grade every candidate against the seeds' references, and the judges against these grades."""
    responses, graded = study.file("responses"), study.file("graded")
    candidates = CANDIDATES.read(study.build / "rounds" / "1" / "tables" / "candidates.parquet")
    public.write_lines(responses, measured.responses(candidates, public.lines(study.file("references"))))
    study.steps.do("grade", [*VERIDISTILL, "grade", str(responses), "--allow-code-execution"], graded)
    public.write_lines(study.labels, measured.labels(public.lines(graded)))
    _audit(study, study.build, "audit")


def scores(study: Study) -> None:
    """How likely the judge finds a yes, for each candidate: what `soft_verdicts` measures."""
    script = Path(__file__).with_name("soft_verdicts.py")
    config = stored_config(study.build)
    judge = (config.judge.model or config.model).path
    command = [sys.executable, str(script), "--run", str(study.build), "--labels", str(study.labels)]
    command += ["--model", judge, "--scores", str(study.file("scores"))]
    study.steps.do("scores", command, study.folder / "soft.json")


def votes(study: Study) -> None:
    """More votes on the first fifth of the questions; they are in random order."""
    if study.sizes.recheck <= study.sizes.votes:
        return
    where, num = study.folder / "votes", max(1, study.sizes.seeds // 5)
    sets = {"judge.votes": study.sizes.recheck, "seeds.limit": num, "build.canary_share": 0}
    study.run("votes", "build", "--out", study.build, "--fork", where, "--json", sets=sets)
    _audit(study, where, "audit_votes")


def _audit(study: Study, run: Path, name: str) -> None:
    command = [*VERIDISTILL, "audit", str(run), "--labels", str(study.labels), "--json"]
    study.steps.do(name, command, study.folder / f"{name}.json")


def arm(study: Study, name: str) -> None:
    """One arm: a fork of the build that asks nothing new, trained and examined."""
    most = study.sizes.examples
    chosen = measured.chosen(study.build, study.labels, study.file("scores"), most)[name]
    if not chosen:
        return
    kept = set(chosen)
    seeds = (row for row in public.lines(study.file("seeds")) if row["id"] in kept)
    public.write_lines(study.file(f"seeds-{name}"), seeds)
    where = study.arm(name)
    sets: dict[str, Any] = {
        "seeds.path": study.file(f"seeds-{name}"),
        "build.asks": "lazy", "build.extra_stages": "[]", "build.audit_share": 0, "build.canary_share": 0,
    }  # fmt: skip
    if name in ("oracle", "soft"):
        by = ("--labels", study.labels) if name == "oracle" else ("--scores", study.file("scores"))
        script = Path(__file__).with_name("arms.py")
        command = [sys.executable, str(script), "--run", str(study.build), *map(str, by)]
        options = [*study.sets, *(f"{key}={value}" for key, value in sets.items())]
        command += ["--fork", str(where), *(part for one in options for part in ("-o", one))]
        study.steps.do(f"{name}: build", command)
    else:
        selection = {"build.selection": "unfiltered" if name == "unfiltered" else "first"}
        study.run(
            f"{name}: build", "build", "--out", study.build, "--fork", where, "--json", sets=sets | selection
        )
    study.run(f"{name}: train", "train", "--out", where)
    study.run(f"{name}: exam", "evaluate", "--out", where)


def ttc(study: Study) -> None:
    sets = {"evaluation.ttc": "true", "evaluation.limit": study.sizes.ttc, "evaluation.samples": 1}
    study.run("ttc", "evaluate", study.folder / "run.yaml", "--out", study.folder / "ttc", sets=sets)


def others(study: Study) -> None:
    """The other domains' exam: the base model, then each trained one."""
    models = {"base": None, **{name: study.arm(name) / "rounds" / "1" / "model" for name in ARMS}}
    for name, model in models.items():
        if model is None or model.is_dir():
            sets = {"evaluation.problems": study.file("others"), "evaluation.samples": 1}
            sets |= {} if model is None else {"model.path": model}
            where = study.folder / f"others-{name}"
            study.run(f"others: {name}", "evaluate", study.folder / "run.yaml", "--out", where, sets=sets)


OWN = {function.__name__: function for function in (base, build, judges, scores, ttc, votes, others)}


def perform(study: Study, phase: str) -> None:
    if phase in ARMS:
        arm(study, phase)
    else:
        OWN[phase](study)


# --- the command ------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="directory or Hub id of a post-trained model")
    parser.add_argument("--data", type=Path, required=True, help="directory of the public files")
    parser.add_argument("--domain", choices=tuple(public.DOMAINS), required=True)
    parser.add_argument("--scale", choices=tuple(SCALES), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/real"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/real.json"))
    parser.add_argument("--name", help="what tables call the model; default: the last part of its path")
    parser.add_argument("--phases", default=",".join(PHASES), help=f"of {','.join(PHASES)}; default: all")
    # Of eight steps at 1e-5 a third of a bfloat16 model's weights keeps nothing: the change is less than half a digit.
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("-o", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    for size in fields(Sizes):
        parser.add_argument(f"--{size.name}", type=int, help=f"default: {size.default} at scale cpu")
    options = parser.parse_args()
    options.phases = options.phases.split(",")
    if unknown := set(options.phases) - set(PHASES):
        parser.error(f"--phases: there is no {', '.join(sorted(unknown))}; choose of {', '.join(PHASES)}")
    options.name = options.name or Path(options.model).name
    return options


def main() -> None:
    options = arguments()
    # As Ctrl-C does, it stops the running command first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    preset = SCALES[options.scale]
    given = {size.name: getattr(options, size.name) for size in fields(Sizes)}
    sizes = Sizes(**{name: getattr(preset, name) if one is None else one for name, one in given.items()})
    folder = options.out.absolute() / options.name / options.domain
    study = Study(folder, options.domain, sizes, tuple(options.sets))
    public.prepare(options.data, folder, options.domain, sizes.seeds, sizes.exam, sizes.others)
    config = settings(study, options.model, options.scale, options.learning_rate)
    keep(folder / "run.yaml", yaml.safe_dump(config, sort_keys=False))
    about = {"command": _command(options), "config": config}
    try:
        for phase in options.phases:
            (folder / f"{phase}.done").unlink(missing_ok=True)
            perform(study, phase)
            (folder / f"{phase}.done").touch()
            write(options, study, about)
    except StepFailed as failed:
        write(options, study, about)
        sys.exit(str(failed))


def keep(path: Path, text: str) -> None:
    """Write the study's settings, which may not change: its pieces would not belong together."""
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path}: holds other settings; use the same ones, or name another --out or --name")
    path.write_text(text, encoding="utf-8")


def _command(options: argparse.Namespace) -> str:
    """As it was given; the places are one machine's."""
    places = {str(options.model): "MODEL", str(options.data): "DATA", str(options.out): "OUT"}
    return " ".join(["python benchmarks/real.py", *(places.get(part, part) for part in sys.argv[1:])])


def write(options: argparse.Namespace, study: Study, about: dict[str, Any]) -> None:
    """This model's and domain's part of FILE, replaced."""
    complete = [phase for phase in PHASES if (study.folder / f"{phase}.done").is_file()]
    about |= {"model": options.name, "domain": study.domain, "scale": options.scale, "complete": complete}
    found = about | measured.gathered(study.folder, ARMS)
    runs = read_json(options.json).get("runs", {}) | {f"{options.name} {study.domain}": found}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.json, {"runs": runs})


if __name__ == "__main__":
    main()
