"""The viewer's pages as templates. The script only adds keys to what links and forms do without it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from veridistill.report import html, render, values
from veridistill.view import words
from veridistill.view.items import STRATA

_FOLDER = Path(__file__).parent
_STATIC = {"view.css": "text/css", "view.js": "text/javascript"}


@dataclass(frozen=True, slots=True)
class Static:
    """A file with its media type."""

    text: str
    kind: str


def page(template: str, **context: Any) -> str:
    """A page as HTML."""
    return _environment().get_template(template).render(**context)


@cache
def static(name: str) -> Static | None:
    """The style sheet or the script; None for any other name."""
    kind = _STATIC.get(name)
    return None if kind is None else Static((_FOLDER / name).read_text(encoding="utf-8"), kind)


@cache
def _environment() -> Environment:
    found = html.environment(_FOLDER)
    found.filters.update(
        prose=_prose, line=_line, count=values.count, label=values.label, source=_source, plain=_plain
    )
    found.globals.update(words=words, strata=STRATA)
    return found


def _prose(text: str) -> Markup:
    """A text in full."""
    return render.prose(text, None)


def _source(text: str) -> Markup:
    return render.source(text, None)


def _line(text: str) -> Markup:
    return render.line(text, 200)


def _plain(text: object) -> str:
    """A name, on which no character is invisible or turns the others."""
    return render.visible(str(text))
