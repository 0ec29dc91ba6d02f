"""YAML whose plain words are read by the type of the field that they are meant for, not by how they look.

YAML 1.1 makes a number of `12e4567` and `0123`, a truth value of `no` and text of `3e-5`. Here every plain word is kept
as it was written (`Plain`) until its field is known: a text field keeps it, a number field makes a number of it. Only
`null`, `~` and nothing are null everywhere; in quotes they are text. A list may be written as words with commas
(`listed`).
"""

from contextlib import suppress
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel

_NULL = ("", "~", "null")


class Plain(str):
    """A word without quotes, or a key; `where` says where it stands, for errors."""

    where = ""

    @classmethod
    def at(cls, text: str, where: str) -> "Plain":
        plain = cls(text)
        plain.where = where
        return plain


class _Loader(yaml.SafeLoader):
    """Keeps plain words, and refuses a key that comes twice. `<<` merges, as in YAML."""

    yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}
    source = ""

    def word(self, node: yaml.ScalarNode) -> str:
        text = self.construct_scalar(node)
        where = f"{self.source}:{node.start_mark.line + 1}" if self.source else ""
        return Plain.at(text, where) if node.style is None else str(text)

    def mapping(self, node: yaml.MappingNode) -> Any:
        seen = set[str]()
        for name, mark in [(str(key.value), key.start_mark) for key, _ in node.value]:
            if name in seen:
                problem = f"the key {name} comes twice; keep one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, mark)
            seen.add(name)
        return self.construct_yaml_map(node)


_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.word)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)


def read_yaml(text: str, source: str = "") -> Any:
    """The value of a YAML text, in which every plain word is a `Plain`, on a line of `source` if that is named.

    Raises `yaml.YAMLError`.
    """
    loader = _Loader(text)
    loader.source = source
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def typed(value: Any, annotation: Any) -> Any:
    """The value with each `Plain` in it read as a field of this annotation would have it."""
    if isinstance(value, Plain):
        return _word(str(value), leaves(annotation))
    if isinstance(value, dict):
        section = section_of(annotation)
        known = section.model_fields if section else {}
        return {
            str(name): typed(one, known[name].annotation if name in known else _item(annotation))
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [typed(one, _item(annotation)) for one in value]
    return value


def _word(text: str, types: set[Any]) -> Any:
    if text.lower() in _NULL:
        return None
    if types & {int, float}:
        for number in (int, float):  # 1e3 is a whole number too
            with suppress(ValueError):
                return number(text)
    return text


def listed(value: Any) -> Any:
    """The list that a text stands for: `a`, `a,b` and `[a, b]`; nothing and null are the empty list.

    A text with a comma in it is an item only of a YAML list: `["a, b.jsonl"]`. Text in brackets that is no YAML list,
    such as the pattern `[ab].csv`, is a word.
    """
    if value is None or value == "":
        return ()
    if not isinstance(value, str):
        return value
    if value.startswith("[") and value.endswith("]"):
        with suppress(yaml.YAMLError):
            if isinstance(found := read_yaml(value), list):
                return typed(found, list[str])
    return [part.strip() for part in value.split(",")]


def leaves(annotation: Any) -> set[Any]:
    """The types that a field may have, without unions and validators: {int, NoneType} of `int | None`."""
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return leaves(inner[0])
    if not inner or get_origin(annotation) in (tuple, list, dict):
        return {annotation}
    return {leaf for one in inner for leaf in leaves(one)}


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, also where it may be null."""
    for leaf in leaves(annotation):
        if isinstance(leaf, type) and issubclass(leaf, BaseModel):
            return leaf
    return None


def _item(annotation: Any) -> Any:
    """What a list or a mapping holds."""
    for leaf in leaves(annotation):
        if get_origin(leaf) in (tuple, list, dict):
            return [one for one in get_args(leaf) if one is not Ellipsis][-1]
    return Any
