"""`report.html`: one file that opens offline, forever. No script, no font and no image from anywhere.

Jinja2 escapes every value (autoescape); only the figures, built as XML trees, are marked safe. A content
security policy in the page forbids scripts on top of that. Words and tables come from `exams`,
`builds` and `about`, figures from `plots`.
"""

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from veridistill.report import about, builds, exams, plots, values
from veridistill.report.values import Results
from veridistill.report.views import CandidateView, ExampleView

LONGEST = 40_000
"""Characters of one text that the page shows; a longer one loses its middle, and says how much."""

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_BALLOTS = {"yes": "\N{CHECK MARK}", "no": "\N{BALLOT X}", "invalid": "?"}


def write(run_dir: Path, results: Results, examples: Sequence[ExampleView]) -> Path:
    """Write `report.html` into the run directory, whole or not at all; returns its path.

    Equal input gives an equal file. Raises `OSError` when the directory cannot be written.
    """
    path = run_dir / "report.html"
    temporary = run_dir / f".report.html.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(render(results, examples).encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def render(results: Results, examples: Sequence[ExampleView]) -> str:
    """The page as text."""
    levels, stages = builds.levels(results), builds.stages(results)
    estimates = exams.exam(results, "base"), exams.exam(results, "after"), exams.gain(results)
    page = _template().render(
        v=values,
        e=exams,
        b=builds,
        a=about,
        results=results,
        title=values.part(results, "config", "model", "path") or "a run",
        funnel=Markup(plots.funnel(levels, stages)) if levels else "",
        stages=stages,
        intervals=Markup(plots.intervals(*estimates)),
        examples=examples,
    )
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", page)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shorten=shorten, excerpt=excerpt, fate=fate, summary=summary)
    environment.globals["ballots"] = _BALLOTS
    return environment.get_template("page.html.j2")


def shorten(text: str) -> str:
    """A text without its middle, when it is longer than `LONGEST`."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n\n[… {len(text) - 2 * half:,} characters left out …]\n\n{text[-half:]}"


def excerpt(text: str, length: int = 160) -> str:
    """The start of a text on one line, cut between words."""
    words = " ".join(text[: 4 * length].split())
    if len(words) <= length and len(text) <= 4 * length:
        return words
    return words[:length].rpartition(" ")[0] + " …" if " " in words[:length] else words[:length] + "…"


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
