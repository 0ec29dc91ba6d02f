"""What all pages share: the template environment, and a policy that admits a page's own style and script alone.

A page is one template that extends `base.html.j2`; `common.css` has the palette, type and what `render` makes of texts.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def environment(*folders: Path) -> Environment:
    """Templates of these folders and of the shared one. Every value is escaped unless it is `Markup`."""
    return Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(*paths: Path) -> Markup:
    """Style sheets or scripts of ours, joined, as they go into the page."""
    text = "\n".join(path.read_text(encoding="utf-8").strip() for path in paths)
    if "</" in text:
        raise ValueError(f"{paths[-1].name}: an inline style or script must not contain '</'")
    return Markup(text)


def policy(style: str = "", script: str = "", also: Sequence[str] = ()) -> str:
    """A Content-Security-Policy: nothing but this inline style and this inline script, by their hashes.

    `also` are further directives, such as "connect-src 'self'" of a page that asks its own server.
    """
    parts = ["default-src 'none'", *(f"{kind} {_hash(text)}" for kind, text in _inline(style, script)), *also]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _inline(style: str, script: str) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in (("style-src", style), ("script-src", script)) if text]


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
