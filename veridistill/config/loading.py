"""A `Config` from a YAML file and `key=value` overrides, and back; and errors that say where, what and what to do."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from veridistill.config.identity import fields
from veridistill.config.sections import Config
from veridistill.config.values import Plain, leaves, read_yaml, section_of, typed
from veridistill.errors import ConfigError


def load(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration from a YAML file and `key=value` overrides, whose values are YAML.

    Raises `ConfigError` with every fault: the file and line or the override, the field, the value and the choices.
    """
    data = _read(path) if path else {}
    for override in overrides:
        _set(data, override)
    return parse(data, str(path) if path else "configuration")


def load_known(path: Path) -> Config:
    """The configuration in a file of another version: keys that this one does not have are left out.

    Raises `ConfigError` for values that it does not take.
    """
    return parse(_known(_read(path), Config), str(path))


def _known(data: dict[str, Any], section: type[BaseModel]) -> dict[str, Any]:
    """The keys that a section has, and so on in the sections that it holds."""
    found = {}
    for name, value in data.items():
        if (info := section.model_fields.get(str(name))) is not None:
            inner = section_of(info.annotation)
            found[name] = _known(value, inner) if inner and isinstance(value, dict) else value
    return found


def parse(data: Mapping[str, Any], where: str = "configuration") -> Config:
    """The configuration of nested mappings. `where` names their source where they do not say it themselves."""
    try:
        return Config.model_validate(typed(dict(data), Config))
    except ValidationError as error:
        faults = [f"{_place(data, e['loc']) or where}: {_explain(dict(e))}" for e in error.errors()]
        raise ConfigError("\n".join(faults)) from None


def dump(config: Config) -> str:
    """The resolved configuration as YAML, every field written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = read_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    if data is None or data == "":
        return {}
    if not isinstance(data, dict):
        found = "a list" if isinstance(data, list) else repr(str(data))
        raise ConfigError(f"{path}: must be a mapping of sections; found {found}")
    return data


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"-o {override}: must be key=value, for example -o judge.votes=3")
    text = text.strip()
    if path == ["model"] and not text.startswith("{"):
        path = ["model", "path"]
    value = _value(path, text, override)
    for name in path[:-1]:
        inner = data.get(name)
        if isinstance(inner, str):
            inner = {"path": inner}
        inner = dict(inner) if isinstance(inner, dict) else {}
        data[_key(data, name, override)] = inner
        data = inner
    data[_key(data, path[-1], override)] = value


def _key(data: dict[str, Any], name: str, override: str) -> Plain:
    """The key as one that the override set: a dictionary keeps its first key."""
    data.pop(name, None)
    return Plain.at(name, f"-o {override}")


def _value(path: list[str], text: str, override: str) -> Any:
    """A text, or a list of texts, takes the value as written, unless it is null or in quotes; other fields take YAML.

    `*.jsonl` is a pattern of files, and not YAML; what a list may look like is known to `values.listed`.
    """
    if _holds_text(path) and not text.startswith(("'", '"')):
        return Plain(text)
    try:
        return read_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"-o {override}: the value is not YAML: {error}") from None


def _holds_text(path: list[str]) -> bool:
    """Whether a field holds a text or a list of texts, and nothing else but null."""
    annotation: Any = Config
    for name in path:
        section = section_of(annotation)
        if section is None or name not in section.model_fields:
            return False
        annotation = section.model_fields[name].annotation
    return leaves(annotation) <= {str, type(None), tuple[str, ...]}


def _place(data: Any, loc: Sequence[str | int]) -> str:
    """Where the deepest key of a path is written, from the keys on the path; or nothing."""
    place = ""
    for part in loc:
        if isinstance(data, dict):
            key = next((key for key in data if key == part), part)
            place = key.where if isinstance(key, Plain) else place
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            break
        place = data.where if isinstance(data, Plain) and data.where else place
    return place


def _explain(error: dict[str, Any]) -> str:
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {field}{_suggestion(field)}"
    value = error.get("input")
    found = "" if isinstance(value, dict) else f" (found {value!r})"
    what = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{field or 'value'}: {what}{found}"


def _suggestion(field: str) -> str:
    known = {name for name, _ in fields()} | set(Config.model_fields)
    by_last = {name.rpartition(".")[2]: name for name in known}
    close = difflib.get_close_matches(field, known, 1)
    close += [by_last[m] for m in difflib.get_close_matches(field.rpartition(".")[2], by_last, 1)]
    return (
        f"; did you mean {close[0]}?"
        if close
        else f"; choose one of {', '.join(sorted(Config.model_fields))}"
    )
