"""Presets: the complete configurations that come with the package, each known by its file's name without `.yaml`.

A preset's first line says in a few words what it is, and the command that runs it stands below.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path

import veridistill
from veridistill.errors import ConfigError

FOLDER = Path(veridistill.__file__).parent / "recipes"
_YAML = (".yaml", ".yml")


def presets() -> dict[str, str]:
    """Every preset's name, with its summary."""
    return {path.stem: _summary(path) for path in sorted(FOLDER.glob("*.yaml"))}


def preset_file(name: str) -> Path:
    """The file of a preset. Raises `ConfigError` when there is none of that name."""
    if name not in (known := _names()):
        raise ConfigError(f"there is no preset {name}; {_near(name, known) or _ALL}")
    return FOLDER / f"{name}.yaml"


def config_file(named: str | Path) -> Path:
    """The YAML file that a preset's name or a path stands for. A file with the name of a preset is `./NAME`.

    Raises `ConfigError` when it is neither, unless it is the path of a YAML file that cannot be meant for a preset.
    """
    known, path = _names(), Path(named)
    if str(named) in known:
        return FOLDER / f"{named}.yaml"
    written_out = path.suffix in _YAML
    near = _near(path.stem if written_out else path.name, known)
    if path.exists() or (written_out and not near):
        return path
    raise ConfigError(f"{named}: neither a file nor a preset; {near or _ALL}")


_ALL = "`veridistill init --list` lists the presets"


def _near(name: str, known: Iterable[str]) -> str | None:
    """A question for the presets that begin with a name, or else look like it."""
    close = [one for one in known if name and one.startswith(name)]
    close = close or difflib.get_close_matches(name, known, 3, 0.7)
    return f"did you mean {' or '.join(close)}?" if close else None


def _names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _summary(path: Path) -> str:
    with open(path, encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()
