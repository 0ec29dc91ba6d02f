"""Which version of veridistill made a run directory, and which layout its files have, as a number.

`layout.json` in the directory says both. Runs from before it was written have layout 0, which differs from 1 in that
file alone. LAYOUT rises when an older version of veridistill could no longer read what a run writes.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import veridistill
from veridistill.errors import ConfigError

LAYOUT = 1
"""What this version writes; it reads this and all lower ones."""
FILE = "layout.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a run, and the version of veridistill that made it; None where nothing says so."""

    number: int
    version: str | None

    @property
    def maker(self) -> str:
        return f"veridistill {self.version}" if self.version else "an unknown version of veridistill"


def text() -> str:
    """The content of `layout.json` in a run of this version."""
    return json.dumps({"layout": LAYOUT, "version": veridistill.__version__}) + "\n"


def readable(path: Path) -> Layout:
    """The layout of the run at `path`. Raises `ConfigError` when this version does not know it."""
    found = _of(path)
    if not 0 <= found.number <= LAYOUT:
        raise ConfigError(
            f"{path}: made by {found.maker}, with layout {found.number}; veridistill {veridistill.__version__} knows"
            f" layouts up to {LAYOUT}. Use that version or a later one: pip install 'veridistill>={found.version}'."
            " Without it, only report.html and the Parquet files in rounds/ can be read"
        )
    return found


def _of(path: Path) -> Layout:
    if not (path / FILE).is_file():
        return Layout(0, _version_in_results(path))
    try:
        data = json.loads((path / FILE).read_text(encoding="utf-8"))
        return Layout(int(data["layout"]), str(data["version"]))
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ConfigError(
            f"{path / FILE}: must look like {text().strip()} ({error!r}); write the version that made the run there"
        ) from None


def _version_in_results(path: Path) -> str | None:
    """`results.json` names the version too; a spoilt one is not this module's to report."""
    try:
        version = json.loads((path / "results.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return version if isinstance(version, str) else None
