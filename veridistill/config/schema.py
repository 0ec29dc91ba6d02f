"""The configuration as a JSON Schema, by which editors complete, explain and check a YAML file.

It is draft 7, which the YAML language server reads, and says less than `load`: what it accepts loads, except for rules
over several fields; it has no words for the rarer spellings that `load` reads too, such as `1_000` and `yes`.
`schema.json` beside this module is its text: `make docs` writes it.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from veridistill.config.sections import Config, ModelSection, Section
from veridistill.config.values import section_of

SCHEMA_FILE = Path(__file__).parent / "schema.json"

_PLAIN: Mapping[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    # A commit such as 1234567 is a number to an editor, and text to `load`.
    str: {"type": ["string", "number"]},
}
_LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minItems",
}


def schema() -> dict[str, Any]:
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "veridistill configuration",
        **_section(Config),
    }


def _section(section: type[Section]) -> dict[str, Any]:
    about = {"description": inspect.cleandoc(section.__doc__)} if section.__doc__ else {}
    return {
        **about,
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _field(info) for name, info in section.model_fields.items()},
    }


def _field(info: FieldInfo) -> dict[str, Any]:
    """A field: its values, its meaning and its default. A section may be left empty, which is null."""
    if isinstance(info.default, Section):
        return _either([*_leaf(type(info.default), {}), _PLAIN[type(None)]])
    found = _values(info.annotation, _limits(info))
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    meaning = f"{info.description} ({extra['kind']})".strip()
    default = list(info.default) if isinstance(info.default, tuple) else info.default
    return {**found, "description": meaning, "default": default}


def _limits(info: FieldInfo) -> dict[str, Any]:
    return {
        word: getattr(m, name) for m in info.metadata for name, word in _LIMITS.items() if hasattr(m, name)
    }


def _values(annotation: Any, limits: dict[str, Any]) -> dict[str, Any]:
    """What a field of this annotation may hold; `limits` belong to the numbers and lists in it."""
    return _either([one for leaf in _leaves(annotation) for one in _leaf(leaf, limits)])


def _leaves(annotation: Any) -> list[Any]:
    """The types of a union, in the order in which it is written."""
    if get_origin(annotation) in (tuple, dict, Literal) or not get_args(annotation):
        return [annotation]
    return [leaf for one in get_args(annotation) for leaf in _leaves(one)]


def _leaf(leaf: Any, limits: dict[str, Any]) -> list[dict[str, Any]]:
    origin, inner = get_origin(leaf), get_args(leaf)
    if origin is Literal:
        return [{"enum": list(inner)}]
    if origin is tuple:
        return _list(inner[0], limits)
    if origin is dict:
        return [{"type": "object", "additionalProperties": _values(inner[1], {})}]
    if (section := section_of(leaf)) is not None:
        short = [_PLAIN[str]] if section is ModelSection else []
        return [*short, _section(section)]  # type: ignore[arg-type]
    numeric = {name: value for name, value in limits.items() if name != "minItems"}
    return [_PLAIN[leaf] | (numeric if leaf in (int, float) else {})]


def _list(item: Any, limits: dict[str, Any]) -> list[dict[str, Any]]:
    """A list, or its items as one text with commas."""
    items = _values(item, {})
    text: dict[str, Any] = {"type": "string"}
    if "enum" in items:
        one = "|".join(items["enum"])
        text["pattern"] = rf"^({one})(\s*,\s*({one}))*$"
    least = {name: value for name, value in limits.items() if name == "minItems"}
    return [{"type": "array", "items": items, **least}, text]


def _either(options: list[dict[str, Any]]) -> dict[str, Any]:
    """One of several schemas; those that only name a type become one."""
    types = [name for one in options if one.keys() == {"type"} for name in _names(one["type"])]
    others = [one for one in options if one.keys() != {"type"}]
    if types:
        others.append({"type": types if len(types) > 1 else types[0]})
    return others[0] if len(others) == 1 else {"anyOf": others}


def _names(types: str | list[str]) -> list[str]:
    return [types] if isinstance(types, str) else types
