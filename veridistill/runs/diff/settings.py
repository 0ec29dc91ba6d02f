"""The configuration fields in which two runs differ."""

from dataclasses import dataclass
from typing import Any

from veridistill.config import Config, fields


@dataclass(frozen=True, slots=True)
class Setting:
    """A field with the value of each run; `kind` is identity (it can change what is kept) or runtime."""

    name: str
    kind: str
    a: Any
    b: Any


def compare(a: Config, b: Config) -> tuple[Setting, ...]:
    """In the order of the sections, identity fields first."""
    first, second = a.model_dump(mode="json"), b.model_dump(mode="json")
    differing = [
        Setting(name, kind, _value(first, name), _value(second, name))
        for name, kind in fields()
        if _value(first, name) != _value(second, name)
    ]
    return tuple(sorted(differing, key=lambda setting: setting.kind != "identity"))


def _value(data: Any, name: str) -> Any:
    for key in name.split("."):
        data = data[key]
    return data
