"""Which fields fix what a run keeps and measures, and in which of them two configurations differ.

A run may be resumed with other runtime fields; with another identity field it is refused.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from veridistill.config.sections import Config


def fields(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf field as ("judge.votes", "identity" or "runtime")."""
    for name, info in section.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{prefix}{name}.")
        else:
            extra = info.json_schema_extra
            yield (
                prefix + name,
                str(extra["kind"]) if isinstance(extra, dict) and "kind" in extra else "neither",
            )


def identity_differences(old: Config, new: Config) -> list[str]:
    """The identity fields in which two configurations differ, as "judge.votes: 5 -> 3"."""
    return [
        f"{name}: {_get(old, name)!r} -> {_get(new, name)!r}"
        for name, kind in fields()
        if kind == "identity" and _get(old, name) != _get(new, name)
    ]


def _get(config: Config, dotted: str) -> Any:
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value
