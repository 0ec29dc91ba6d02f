"""The README of an exported folder: the Hub's metadata, what the rows are, how they came about, what is synthetic.

Written from what the build recorded. No path of this machine is in it. The licence is left to its author, who alone
knows those of the questions and of the model.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from veridistill.data.meanings import MEANINGS, columns_table
from veridistill.data.rundir import RunDir, read_json
from veridistill.data.seeds.files import HUB
from veridistill.report.values import between, count, label, number, part, rate, share
from veridistill.runs.export import kinds
from veridistill.runs.export.files import Format, Written
from veridistill.runs.export.kinds import What
from veridistill.runs.pipeline import origin
from veridistill.training.card import chosen

NAME = "README.md"

Files = Mapping[What, Written]
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_TYPES: Mapping[str, Mapping[str, Any]] = {
    "string": {"dtype": "string"},
    "int32": {"dtype": "int32"},
    "bool": {"dtype": "bool"},
    "list<int32>": {"list": "int32"},
    "list<string>": {"list": "string"},
    "list<message>": {"list": [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]},
}
"""Column types as the Hub's metadata has them."""


def card(run: RunDir, round_number: int, files: Files, form: Format) -> str:
    """Markdown with the Hub's metadata."""
    built = _built(run, round_number)
    name = public_name(run.config.model.path)
    sections = [
        _intro(name),
        *(_table(what, written) for what, written in files.items()),
        _made(run, round_number, built, name),
        _funnel(built),
        _audit(built),
        _synthetic(run, files),
    ]
    return f"---\n{_header(name, files, form)}---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _built(run: RunDir, round_number: int) -> Mapping[str, Any]:
    """What the results have of the round; nothing where they were lost."""
    rounds = read_json(run.results).get("rounds", [])
    return rounds[round_number - 1] if len(rounds) >= round_number else {}


def public_name(model: str) -> str:
    """A model as its author may name it in public: a local directory by its last part."""
    return Path(model).name if Path(model).expanduser().is_dir() else model


def _header(name: str, files: Files, form: Format) -> str:
    first = next(iter(files))
    data: dict[str, Any] = {
        "pretty_name": f"Self-verified answers of {name}",
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "self-distillation", "veridistill"],
        "size_categories": [_size(max(written.rows for written in files.values()))],
        "configs": [
            {"config_name": what, "data_files": written.path} | ({"default": True} if what == first else {})
            for what, written in files.items()
        ],
    }
    if form == "hub":  # the other formats do not say their types
        data["dataset_info"] = [_info(what, written) for what, written in files.items()]
    return "license: unknown  # fill in, see below\n" + yaml.safe_dump(
        data, sort_keys=False, allow_unicode=True
    )


def _size(rows: int) -> str:
    return next((words for most, words in _SIZES if rows < most), "1M<n<10M")


def _info(what: What, written: Written) -> dict[str, Any]:
    return {
        "config_name": what,
        "features": [
            {"name": name, **_TYPES[kind.removesuffix("?")]} for name, kind in written.columns.items()
        ],
        "splits": [{"name": "train", "num_bytes": written.size, "num_examples": written.rows}],
        "download_size": written.size,
        "dataset_size": written.size,
    }


def _intro(name: str) -> str:
    about = _paragraph(
        f"Answers that `{name}` gave to unlabeled questions and verified itself, by Self-Verified Distillation"
        " (arXiv [2605.26132](https://arxiv.org/abs/2605.26132)), written by veridistill."
    )
    licence = _paragraph(
        "**Before publishing: fill in `license` above.** The questions have the licence of the data set that they come"
        " from, and the model's licence may say what its outputs may be used for. Then delete this paragraph."
    )
    return f"# Self-verified answers of {name}\n\n{about}\n\n{licence}"


def _table(what: What, written: Written) -> str:
    table = columns_table(written.columns, kinds.meanings(what))
    return f"## {what}\n\n`{written.path}`, {written.rows:,} rows; each is {MEANINGS[what].row}.\n\n{table}"


def _made(run: RunDir, round_number: int, built: Mapping[str, Any], name: str) -> str:
    config = run.config
    if not built:
        return f"## How it was made\n\nThe figures of round {round_number} are not known any more."
    generate, judge = config.generate, config.judge
    judged = f"`{public_name(judge.model.path)}`" if judge.model else "the same model"
    facts = [
        ("model", f"`{name}`" + (f" at revision `{config.model.revision}`" if config.model.revision else "")),
        ("fingerprint of its weights, tokenizer and chat template", f"`{built['model']}`"),
        ("round", f"{round_number} of {config.rounds}"),
        ("judge", judged),
        ("candidates per question", f"up to {generate.candidates}"),
        ("their sampling", _sampling(generate)),
        ("stages", ", ".join(map(label, judge.stages))),
        ("votes per stage", str(judge.votes)),
        ("the judge's sampling", _sampling(judge)),
        ("selection", label(str(built["selection"]))),
        ("part of the questions", f"shard {config.seeds.shard}" if config.seeds.shard else "all"),
        ("version", f"veridistill {read_json(run.results)['version']}"),
    ]
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts)
    words = _paragraph(chosen(origin(run, round_number)))
    return f"## How it was made\n\n{words}\n\n| | |\n|---|---|\n{rows}"


def _sampling(section: Any) -> str:
    return (
        f"temperature {section.temperature:g}, top_p {section.top_p:g}, top_k {section.top_k},"
        f" at most {section.max_tokens:,} tokens"
    )


def _funnel(built: Mapping[str, Any]) -> str:
    found = part(built, "funnel")
    if not found:
        return ""
    well = number(found["well_formed"]) or 0
    rows = [
        ("questions", count(found["seeds"]), ""),
        ("candidates", count(found["candidates"]), ""),
        ("well formed", count(well), share(well, number(found["candidates"]) or 0)),
        *((f"passed {label(stage)}", count(one["passed"]), "") for stage, one in found["stages"].items()),
        ("accepted", count(part(built, "outcomes", "accepted")), ""),
        ("kept", count(found["kept"]), ""),
        (
            "questions with a kept candidate",
            count(built["questions_kept"]),
            share(built["questions_kept"], found["seeds"]),
        ),
    ]
    listed = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    note = _paragraph(
        "Votes stop as soon as a candidate's outcome is known, so what passed a stage does not measure its judge."
    )
    return f"| from questions to examples | number | share |\n|---|---:|---:|\n{listed}\n\n{note}"


def _audit(built: Mapping[str, Any]) -> str:
    """How strict the judges were, where that was measured, and what they let through."""
    lines = [*_audited(part(built, "audit")), *_canaries(part(built, "canaries"))]
    if not built:
        return ""
    unmeasured = (
        "Nothing measured how often an accepted answer is right: that takes labels (`veridistill audit`)."
    )
    return "## How good the judges are\n\n" + "\n".join(f"- {line}" for line in [*lines, unmeasured])


def _audited(found: Any) -> Iterator[str]:
    if not found:
        return
    accepted = part(found, "acceptance")
    yield (
        f"Of {count(part(found, 'candidates'))} candidates of {count(part(found, 'questions'))} questions judged in"
        f" full, {rate(part(accepted, 'rate'))} were accepted (95 % interval {between(accepted)})."
    )
    for stage, tally in (part(found, "stages") or {}).items():
        yield (
            f"{label(stage)}: {rate(part(tally, 'pass_rate'))} passed ({between(tally)}), its votes agreed on"
            f" {rate(part(tally, 'agreement'))}, {rate(part(tally, 'invalid_rate'))} of them were invalid."
        )


def _canaries(found: Any) -> Iterator[str]:
    if number(part(found, "judged")):
        yield (
            f"Of {count(part(found, 'judged'))} answers known to be bad (canaries), {count(part(found, 'accepted'))}"
            f" were accepted (95 % interval {between(found)})."
        )


def _synthetic(run: RunDir, files: Files) -> str:
    questions = (
        "The questions are synthetic word problems made by a program (veridistill's lab)."
        if run.config.seeds.path == ("lab",)
        else f"The questions were given, without answers, from: {_sources(run.config.seeds.path)}."
    )
    replies = (
        "Every reply, with its reasoning and its answer, was sampled from the model named above. No person wrote,"
        " checked or corrected one."
    )
    verdicts = (
        "Which replies were kept is a model's judgement; it can be wrong, and is wrong in a systematic way."
    )
    exam = (
        "The attempts are replies to problems of benchmarks. The problems' texts and references are left out, but"
        " replies may quote them: check whether the benchmark's licence allows to publish that."
    )
    lines = [questions, replies, verdicts, *([exam] if "attempts" in files else [])]
    return "## What is synthetic, and what it is not\n\n" + "\n".join(f"- {line}" for line in lines)


def _sources(paths: tuple[str, ...]) -> str:
    names = [path if path.startswith(HUB) else PurePosixPath(path).name for path in paths]
    return ", ".join(f"`{name}`" for name in names)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)
