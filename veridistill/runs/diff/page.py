"""A comparison as one HTML page that opens offline, in the look of a run's report: no script, nothing from anywhere.

Jinja2 escapes every value, and the page's content security policy admits its own style sheet alone, by hash.
"""

import re
from functools import cache
from pathlib import Path

from jinja2 import Template

from veridistill.report import html
from veridistill.runs.diff import Diff
from veridistill.runs.diff.words import headline, sections

LONGEST = 4_000
"""Characters of a text that the page shows."""

# Control codes, and characters that turn the direction of the text after them.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def page(diff: Diff) -> str:
    style = html.asset(html.TEMPLATES / "common.css", Path(__file__).parent / "page.css")
    text = _template().render(
        diff=diff,
        title=f"{diff.a.run} and {diff.b.run}",
        headline=headline(diff),
        sections=sections(diff),
        style=style,
        script="",
        policy=html.policy(style),
    )
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def clipped(text: str) -> str:
    """The start of a long text, and how much of it is left out."""
    left = len(text) - LONGEST
    return text if left <= 0 else f"{text[:LONGEST]}\n… {left:,} characters more"


@cache
def _template() -> Template:
    environment = html.environment(Path(__file__).parent)
    environment.filters["clipped"] = clipped
    return environment.get_template("page.html.j2")
