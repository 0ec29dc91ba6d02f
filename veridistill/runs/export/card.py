"""The README of an exported folder: the Hub's metadata, what the rows are, how they came about, what is synthetic.

Written from what the build recorded. No path of this machine is in it. The licence is left to its author, who alone
knows those of the questions and of the model.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from veridistill.data.meanings import MEANINGS, columns_table
from veridistill.data.rundir import RunDir, read_json
from veridistill.data.seeds.files import HUB
from veridistill.report.values import between, count, label, number, part, rate, share
from veridistill.runs.export import kinds
from veridistill.runs.export.files import Format, Written
from veridistill.runs.export.kinds import What
from veridistill.runs.origin import origin
from veridistill.training.card import chosen, method, public_name
from veridistill.training.job import Origin

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
    about = origin(run, round_number) if built else None
    sections = [
        _intro(name, about),
        *(_table(what, written) for what, written in files.items()),
        _made(run, round_number, built, name),
        funnel(built),
        audit(built),
        _synthetic(run, round_number, files),
    ]
    return (
        f"---\n{_header(_title(name, about), files, form)}---\n\n"
        + "\n\n".join(filter(None, sections))
        + "\n"
    )


def _built(run: RunDir, round_number: int) -> Mapping[str, Any]:
    """What the results have of the round; nothing where they were lost."""
    rounds = read_json(run.results).get("rounds", [])
    return rounds[round_number - 1] if len(rounds) >= round_number else {}


def _title(name: str, about: Origin | None) -> str:
    verified = about is not None and method(about).startswith("self-verified")
    return f"{'Self-verified answers' if verified else 'Answers'} of {name}"


def _header(title: str, files: Files, form: Format) -> str:
    first = next(iter(files))
    data: dict[str, Any] = {
        "pretty_name": title,
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


def _intro(name: str, about: Origin | None) -> str:
    how = f", by {method(about)}" if about is not None else ""
    words = _paragraph(
        f"Answers that `{name}` gave to unlabeled questions{how}, written by veridistill (arXiv"
        " [2605.26132](https://arxiv.org/abs/2605.26132))."
    )
    licence = _paragraph(
        "**Before publishing: fill in `license` above.** The questions have the licence of the data set that they come"
        " from, and the model's licence may say what its outputs may be used for. Then delete this paragraph."
    )
    return f"# {_title(name, about)}\n\n{words}\n\n{licence}"


def _table(what: What, written: Written) -> str:
    table = columns_table(written.columns, kinds.meanings(what))
    return f"## {what}\n\n`{written.path}`, {written.rows:,} rows; each is {MEANINGS[what].row}.\n\n{table}"


def _made(run: RunDir, round_number: int, built: Mapping[str, Any], name: str) -> str:
    config = run.config
    if not built:
        return f"## How it was made\n\nThe figures of round {round_number} are not known any more."
    generate, judge = config.generate, config.judge
    judged = f"`{public_name(judge.model.path)}`" if judge.model else "the same model"
    unjudged = built["selection"] == "unfiltered"
    judges = (
        ("judge", judged),
        ("stages", ", ".join(map(label, judge.stages))),
        ("votes per stage", str(judge.votes)),
        ("the judge's sampling", _sampling(judge)),
    )
    facts = [
        ("model", f"`{name}`" + (f" at revision `{config.model.revision}`" if config.model.revision else "")),
        ("fingerprint of its weights, tokenizer and chat template", f"`{built['model']}`"),
        ("round", f"{round_number} of {config.rounds}"),
        ("candidates per question", "1" if unjudged else f"up to {generate.candidates}"),
        ("their sampling", _sampling(generate)),
        *(() if unjudged else judges),
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


def funnel(built: Mapping[str, Any]) -> str:
    """From questions to examples, as a table; nothing where the figures were lost."""
    found = part(built, "funnel")
    if not found:
        return ""
    well, unjudged = number(found["well_formed"]) or 0, built["selection"] == "unfiltered"
    rows = [
        ("questions", count(found["seeds"]), ""),
        ("candidates", count(found["candidates"]), ""),
        ("well formed", count(well), share(well, number(found["candidates"]) or 0)),
        *(() if unjudged else _judged(built)),
        ("kept", count(found["kept"]), ""),
        (
            "questions with a kept candidate",
            count(built["questions_kept"]),
            share(built["questions_kept"], found["seeds"]),
        ),
    ]
    listed = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    note = _paragraph(
        "No candidate was judged."
        if unjudged
        else "Votes stop as soon as a candidate's outcome is known, so what passed a stage does not measure its judge."
    )
    return f"| from questions to examples | number | share |\n|---|---:|---:|\n{listed}\n\n{note}"


def _judged(built: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for stage, one in part(built, "funnel", "stages").items():
        yield f"passed {label(stage)}", count(one["passed"]), ""
    yield "accepted", count(part(built, "outcomes", "accepted")), ""


def audit(built: Mapping[str, Any]) -> str:
    """How strict the judges were, where that was measured, and what they let through."""
    lines = [*_audited(part(built, "audit")), *_canaries(part(built, "canaries"))]
    if not built or built["selection"] == "unfiltered":
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


def _synthetic(run: RunDir, round_number: int, files: Files) -> str:
    questions = (
        "The questions are synthetic word problems made by a program (veridistill's lab)."
        if run.config.seeds.path == ("lab",)
        else f"The questions were given, without answers, from: {_sources(run.config.seeds.path)}."
    )
    replies = (
        "Every reply, with its reasoning and its answer, was sampled from the model named above. No person wrote,"
        " checked or corrected one."
    )
    kept = part(_built(run, round_number), "selection")
    verdicts = (
        "Which replies were kept is no judgement: none was made, and they may be wrong."
        if kept == "unfiltered"
        else "Which replies were kept is a model's judgement; it can be wrong, and is wrong in a systematic way."
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
