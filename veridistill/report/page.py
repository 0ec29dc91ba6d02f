"""`report.html`: one file that opens offline, forever. No font, no image and no script from anywhere.

Jinja2 escapes every value, and a model's text becomes HTML in `render` alone; only figures, built as XML trees, are
marked safe beside that. The page's Content-Security-Policy admits its own style sheet and its own script (which filters
the examples), by their hashes, and nothing else: no request can leave. Without scripts everything can still be read.

Words and tables come from `exams`, `builds`, `cost`, `about` and others, figures from `plots` and `charts`.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from veridistill.report import (
    about,
    breakdown,
    budget,
    builds,
    cost,
    drift,
    exams,
    html,
    plots,
    render,
    values,
)
from veridistill.report.budget import Room
from veridistill.report.flips import Flip
from veridistill.report.gather import Contents
from veridistill.report.views import CandidateView, ExampleView

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_OUTCOMES = ("kept", "nothing-kept", *breakdown.OUTCOMES)
_WORDS = {"kept": "something kept", "nothing-kept": "nothing kept"} | {
    name: f"a candidate {name}" for name in breakdown.OUTCOMES
}
_BALLOTS = {"yes": "\N{CHECK MARK}", "no": "\N{BALLOT X}", "invalid": "?"}


def write(run_dir: Path, contents: Contents) -> Path:
    """Write `report.html` into the run directory, whole or not at all; returns its path.

    Equal input gives an equal file. Raises `OSError` when the directory cannot be written.
    """
    path = run_dir / "report.html"
    temporary = run_dir / f".report.html.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(page(contents).encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def page(contents: Contents) -> str:
    """The page as text."""
    results, tags = contents.results, Counter[str]()
    style = html.asset(html.TEMPLATES / "common.css", html.TEMPLATES / "report.css")
    script = html.asset(html.TEMPLATES / "report.js")
    levels, stages = builds.levels(results), builds.stages(results)
    estimates = exams.exam(results, "base"), exams.exam(results, "after"), exams.gain(results)
    examples, flips = list(_examples(contents, tags)), list(_flips(contents))
    text = _environment().get_template("report.html.j2").render(
        style=style,
        script=script,
        policy=html.policy(style, script),
        title=values.part(results, "config", "model", "path") or "a run",
        results=results,
        contents=contents,
        funnel=Markup(plots.funnel(levels, stages)) if levels else "",
        stages=stages,
        intervals=Markup(plots.intervals(*estimates)),
        differences=Markup(plots.differences(exams.differences(results))),
        examples=examples,
        flips=flips,
        filters=_filters(tags),
    )  # fmt: skip
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


@cache
def _environment() -> Environment:
    environment = html.environment()
    environment.filters.update(
        prose=render.prose, reply=render.reply, source=render.source, line=render.line, fate=fate, summary=summary,
        safe_svg=Markup,
    )  # fmt: skip
    environment.globals.update(
        v=values, a=about, b=builds, c=cost, d=drift, e=exams, k=breakdown, ballots=_BALLOTS,
        shown_in_full=budget.shown_in_full,
    )  # fmt: skip
    return environment


def _examples(contents: Contents, tags: Counter[str]) -> Iterator[Markup]:
    def counted() -> Iterator[ExampleView]:
        for view in contents.examples:
            tags.update(view.tags)
            yield view

    draw = _macro("example")
    return budget.fitted(counted(), len(contents.examples), draw, budget.weight, budget.EXAMPLES_BYTES)


def _flips(contents: Contents) -> Iterator[Markup]:
    shown = contents.flips.shown if contents.flips else ()

    def weigh(flip: Flip, room: Room) -> int:
        return sum(
            min(len(text), room.clip) for text in (flip.question, flip.old.response, flip.new.response)
        )

    return budget.fitted(shown, len(shown), _macro("flip"), weigh, budget.FLIPS_BYTES)


def _macro(name: str) -> Callable[[Any, Room], Markup]:
    macro = getattr(_environment().get_template("parts.html.j2").module, name)
    return lambda view, room: Markup(macro(view, room))


def _filters(tags: Counter[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What can be chosen, by heading: (tag, words) of each tag that occurs, where there are several."""
    groups = (
        ("domain", [tag for tag in sorted(tags) if tag.startswith("domain-")]),
        ("outcome", [tag for tag in _OUTCOMES if tag in tags]),
        ("ended by", [tag for tag in sorted(tags) if tag.startswith("by-")]),
    )
    return [
        (heading, [(tag, f"{_WORDS.get(tag, _plain(tag))} ({values.count(tags[tag])})") for tag in found])
        for heading, found in groups
        if len(found) > 1
    ]


def _plain(tag: str) -> str:
    return values.label(tag.removeprefix("domain-").removeprefix("by-"))


def fate(candidate: CandidateView) -> str:
    """What became of a candidate, in words."""
    by = values.label(candidate.rejected_by) if candidate.rejected_by else ""
    if candidate.outcome == "accepted":
        return "accepted and kept" if candidate.kept else "accepted, not kept"
    if candidate.outcome == "rejected":
        return f"rejected by {by}" if by else "rejected"
    return f"{candidate.outcome}: {by}" if by else candidate.outcome


def summary(example: ExampleView) -> str:
    """What became of a question: which candidate was kept, else all fates, most frequent first."""
    kept = [str(candidate.index) for candidate in example.candidates if candidate.kept]
    if kept:
        return f"kept candidate{'s' if len(kept) > 1 else ''} {', '.join(kept)}"
    fates = [fate(candidate) for candidate in example.candidates]
    counted = sorted(dict.fromkeys(fates), key=fates.count, reverse=True)
    return "; ".join(f"{fates.count(f)} {f}" for f in counted) if counted else "no candidates"
