"""The model card of a trained model: what this run did, how its examples were chosen, and with which settings.

Our own, since TRL's names no base model for a local directory.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from veridistill.config import TrainSection
from veridistill.training.job import Origin, TrainResult

_PAPER = "https://arxiv.org/abs/2605.26132"
CARD = "README.md"


def card(origin: Origin, section: TrainSection, result: TrainResult, sections: Sequence[str] = ()) -> str:
    """Markdown with the Hub's metadata, and `sections` before the last words. No path of this machine is in it."""
    name = public_name(origin.model)
    known = name == origin.model and name != "lab"
    head = f"base_model: {name}\n" if known else ""
    revision = f" at revision `{origin.revision}`" if origin.revision else ""
    risk = "This model is unsuitable for everything for which the base model is unsuitable."
    if result.adopted is not None:
        about = (
            f"`{name}`{revision} fine-tuned outside of veridistill and adopted as {_round(origin)}a run of"
            f" [veridistill]({_PAPER}). How it was trained, and on what, is not known here."
        )
        title, parts = f"{name}, fine-tuned elsewhere", [about]
    else:
        about = (
            f"`{name}`{revision} fine-tuned with [veridistill]({_PAPER}) on its own answers to unlabeled questions."
            f" {_start(origin)}{chosen(origin)}"
        )
        title = f"{name}, after {_round(origin)}{method(origin)}"
        parts, risk = [about, _training(section, result)], f"{risk} {_risk(origin)}"
    settings = "" if result.adopted is not None else _settings(section)
    body = [*map(_paragraph, parts), settings, *sections, _paragraph(risk)]
    text = "\n\n".join(filter(None, body))
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [self-distillation, veridistill]
{head}---

# {title}

{text}
"""


def public_name(model: str) -> str:
    """A model as its author may name it in public: a local directory by its last part."""
    return Path(model).name if Path(model).expanduser().is_dir() else model


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def _settings(section: TrainSection) -> str:
    """A table of names and values, those of the adapters by their own names."""
    rows: list[tuple[str, object]] = []
    for name, value in section.model_dump().items():
        rows += (
            [(f"{name}.{inner}", one) for inner, one in value.items()]
            if isinstance(value, dict)
            else [(name, value)]
        )
    told = ((name, ", ".join(value) if isinstance(value, tuple) else value) for name, value in rows)
    return "\n".join(["| setting | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in told)])


def _training(section: TrainSection, result: TrainResult) -> str:
    steps = "1 optimizer step" if result.steps == 1 else f"{result.steps:,} optimizer steps"
    seen = f", which saw each example {result.epochs:.3g} times on average" if result.epochs else ""
    learned = "All weights were trained"
    if section.lora is not None:
        learned = f"Low-rank adapters of rank {section.lora.rank} were trained and added to the weights"
    kind = " weighted by each token's own probability (DFT)" if section.loss == "dft" else ""
    return (
        f"{result.num_rows:,} examples ({result.label_tokens:,} tokens of replies; {result.num_dropped:,} more were"
        f" too long), {steps}{seen}. {learned}, with the loss on the reply alone{kind}, by AdamW with a cosine to"
        " 10 % of the peak rate."
    )


def _round(origin: Origin) -> str:
    return f"round {origin.round} of " if origin.round > 1 else ""


def method(origin: Origin) -> str:
    """What the run did, in two words or five: "self-verified" only where the model judged itself."""
    judged = origin.selection in _JUDGED and origin.judge is None
    return "self-verified distillation" if judged else "distillation of its own answers"


def _start(origin: Origin) -> str:
    if origin.round == 1:
        return ""
    return f"Answers were sampled from the model of round {origin.round - 1}, and training started from it. "


def chosen(origin: Origin) -> str:
    """How the examples were chosen, in sentences; for an unknown selection they claim nothing."""
    if origin.selection == "unfiltered":
        return (
            "One answer was sampled for each question and kept without being judged, if it was not truncated."
            " Neither reference answers nor another model took part."
        )
    if origin.selection not in _JUDGED:
        return f"Answers were chosen by the selection `{origin.selection}`."
    others = "No reference answers were used."
    if origin.judge is None:
        others = "Neither reference answers nor another model took part."
    return f"{_JUDGED[origin.selection].format(n=origin.candidates)}. {_acceptance(origin)} {others}"


_JUDGED = {
    "first": "Up to {n} candidates were sampled for each question, and the first accepted one was kept",
    "all": "{n} candidates were sampled for each question, and all accepted ones were kept",
    "shortest": "{n} candidates were sampled for each question, and the shortest accepted one was kept",
    "random": "Up to {n} candidates were sampled for each question, and an accepted one was kept at random",
}


def _acceptance(origin: Origin) -> str:
    judge = f"`{public_name(origin.judge)}`" if origin.judge else "the model itself"
    stages = ", ".join(stage.replace("_", " ") for stage in origin.stages)
    votes = "the 1 vote" if origin.votes == 1 else f"all {origin.votes} votes"
    return f"A candidate was accepted only if {judge} voted yes in {votes} of each stage ({stages})."


def _risk(origin: Origin) -> str:
    if origin.selection == "unfiltered":
        return "The answers that it was trained on were not checked: their errors may have been reinforced."
    if origin.selection not in _JUDGED:
        return ""
    whose = "Its own judgement" if origin.judge is None else "Another model's judgement"
    return f"{whose} chose its training data: errors that the judge cannot see may have been reinforced."
