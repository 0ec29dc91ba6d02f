"""A comparison as one HTML page that opens offline, in the look of a run's report: no script, nothing from anywhere.

Jinja2 escapes every value, and the page's content security policy admits its own style sheet alone, by hash.
"""

import hashlib
import re
from base64 import b64encode
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from veridistill import report
from veridistill.runs.diff import Diff
from veridistill.runs.diff.words import headline, sections

LONGEST = 4_000
"""Characters of a text that the page shows."""

# Control codes, and characters that turn the direction of the text after them.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def page(diff: Diff) -> str:
    style = _style()
    digest = b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    text = _template().render(
        diff=diff,
        headline=headline(diff),
        sections=sections(diff),
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
    )
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def clipped(text: str) -> str:
    """The start of a long text, and how much of it is left out."""
    left = len(text) - LONGEST
    return text if left <= 0 else f"{text[:LONGEST]}\n… {left:,} characters more"


@cache
def _style() -> str:
    own = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return (Path(report.__file__).parent / "page.css").read_text(encoding="utf-8") + own


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clipped"] = clipped
    return environment.get_template("page.html.j2")
