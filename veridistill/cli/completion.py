"""What the shell offers at a press of Tab: presets, settings and their values, benchmarks, and run directories.

Typer talks to the shells and has their scripts. It takes the words that bash passes as they are, and bash parts words
at `=` and `:`; `bash_words` puts them together again. No library of models is loaded on the way.
"""

import io
import os
import re
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from veridistill import config
from veridistill.config.sections import Config
from veridistill.config.values import leaves, section_of

Found = list[str | tuple[str, str]]
_YAML = ("*.yaml", "*.yml")


# --- what is offered ------------------------------------------------------------------------------------------


def presets(incomplete: str) -> Found:
    """The presets, with their summaries."""
    return [(name, about) for name, about in config.presets().items() if name.startswith(incomplete)]


def configs(incomplete: str) -> Found:
    """The presets, and YAML files beside them; where no preset fits, nothing, and the shell offers files."""
    if not (found := presets(incomplete)):
        return []
    return [*found, *sorted(str(path) for form in _YAML for path in Path().glob(form))]


def settings(incomplete: str) -> Found:
    """Fields as `judge.votes=`, and the values of the one that is written out or the only one left.

    Such a field comes with a value at least, so that the shell does not take it for complete and add a space.
    """
    key, equals, value = incomplete.partition("=")
    fields = dict(_fields())
    if equals:
        return [f"{key}={one}" for one in _values(key, fields[key], value)] if key in fields else []
    names = [name for name in fields if name.startswith(key)]
    if len(names) != 1:
        return [f"{name}=" for name in names]
    values = _values(names[0], fields[names[0]], "") or [_default(fields[names[0]])]
    return [f"{names[0]}={one}" for one in ("", *values)]


def benchmarks(incomplete: str) -> Found:
    """Names of benchmarks, the last of several with commas."""
    from veridistill.evaluation.benchmarks import NAMES

    return list(_last(incomplete, NAMES))


def runs(incomplete: str) -> Found:
    """Run directories, here and one level down; where there are none, the shell offers files."""
    folder, slash, name = incomplete.rpartition("/")
    base = Path(folder + slash or ".")
    near = [inner for inner in _directories(base) if inner.name.startswith(name)]
    found = [
        one for inner in near for one in (inner, *_directories(inner)) if (one / "config.yaml").is_file()
    ]
    return [folder + slash + str(one.relative_to(base)) for one in found]


def _directories(path: Path) -> list[Path]:
    try:
        return sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return []


def _fields(section: Any = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every field, also those of a section that may be null, such as `judge.engine.kind`."""
    for name, info in section.model_fields.items():
        inner = section_of(info.annotation)
        if inner is None:
            yield prefix + name, info
        else:
            yield from _fields(inner, f"{prefix}{name}.")


def _values(name: str, info: FieldInfo, value: str) -> list[str]:
    """The values of a field that has a few, else its number; nothing for a text, so that the shell offers files."""
    if name in ("evaluation.benchmarks", "seeds.decontaminate"):
        return [str(one) for one in benchmarks(value)]
    choices = [str(choice) for choices in _choices(info.annotation) for choice in choices]
    if any(get_origin(leaf) is tuple for leaf in leaves(info.annotation)):
        return list(_last(value, choices))
    return choices or ([_default(info)] if isinstance(info.default, int | float) else [])


def _default(info: FieldInfo) -> str:
    if isinstance(info.default, tuple):
        return ",".join(info.default) or "[]"
    return "null" if info.default is None else str(info.default)


def _choices(annotation: Any) -> Iterator[tuple[Any, ...]]:
    """What may be chosen, for each type in an annotation that leaves a choice."""
    if get_origin(annotation) is Literal:
        yield get_args(annotation)
    elif annotation is bool:
        yield ("true", "false")
    else:
        for one in get_args(annotation):
            yield from _choices(one)


def _last(incomplete: str, names: Any) -> Iterator[str]:
    """Names that fit behind the last comma and are not there yet."""
    before, comma, _ = incomplete.rpartition(",")
    there = before.split(",")
    yield from (f"{before}{comma}{name}" for name in names if name not in there)


# --- bash -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a command line and the place of the one to complete. `done`: what bash has of that one already."""

    words: list[str]
    place: int
    done: str


def bash_words(words: list[str], place: int) -> Words:
    """Words as they were typed, from those that bash parts at `=` and `:`."""
    whole: list[str] = []
    own, done = 0, ""
    for index, word in enumerate(words):
        follows = index > 1 and (_parts(word) or (word and _parts(words[index - 1])))
        before = whole.pop() if follows else ""
        whole.append(before + word)
        if index == place:
            own, done = len(whole) - 1, before + (word if _parts(word) else "")
    if place >= len(words):
        own = len(whole)
    return Words(whole, own, done)


def _parts(word: str) -> bool:
    return re.fullmatch("[=:]+", word) is not None


def completed(app: Callable[[], Any], environment: MutableMapping[str, str]) -> None:
    """Let Typer complete for bash: whole words in, and out of what it offers the part that bash lacks."""
    found = bash_words(environment["COMP_WORDS"].split("\n"), int(environment["COMP_CWORD"]))
    environment["COMP_WORDS"], environment["COMP_CWORD"] = "\n".join(found.words), str(found.place)
    offered = io.StringIO()
    try:
        with redirect_stdout(offered):
            app()
    finally:
        lines = offered.getvalue().splitlines()
        typer.echo("\n".join(line.removeprefix(found.done) for line in lines))


def asked_by_bash() -> bool:
    return os.environ.get("_VERIDISTILL_COMPLETE") == "complete_bash" and "COMP_WORDS" in os.environ
