"""`seeds.options`: the options of a multiple-choice question, as public files hold them.

    ["red", "blue"]                                   a list of texts
    {"A": "red", "B": "blue"}                         by letter
    {"label": ["A", "B"], "text": ["red", "blue"]}    two lists; labels may be numbers from 1

They come in the order of their letters, since what is shown is lettered anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from veridistill.data.jsonl import shown
from veridistill.data.seeds.columns import Unfit
from veridistill.domains.options import LETTERS
from veridistill.records import without_surrogates

_NULL = "; null means that a question has none"


def texts(value: Any, name: str) -> tuple[str, ...]:
    """The options in the column `name`; none where it is null. Raises `Unfit` with what is wrong with them."""
    if value is None:
        return ()
    found = _listed(value, name)
    if faults := [_not_text(f"{name}[{place}]", one) for place, one in enumerate(found) if not _is_text(one)]:
        raise Unfit(*faults)
    if not found:
        raise Unfit(f"{name} is empty; give two options or more{_NULL}")
    if len(found) == 1:
        raise Unfit(f"{name} holds one option, {shown(found[0])}; give two or more{_NULL}")
    if len(found) > len(LETTERS):
        raise Unfit(f"{name} holds {len(found)} options; there are letters for {len(LETTERS)}")
    return tuple(without_surrogates(option).strip() for option in found)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _not_text(place: str, value: Any) -> str:
    hint = "; pandas writes NaN for a text None or an empty one" if value != value else ""
    return f"{place} must be text (found {shown(value)}){hint}"


def _listed(value: Any, name: str) -> Sequence[Any]:
    """The options in the order of their labels."""
    if isinstance(value, list):
        return value
    if not isinstance(value, Mapping):
        raise Unfit(f"{name} must be a list of texts, or texts by letter (found {shown(value)})")
    labels, found = value.get("label"), value.get("text")
    if isinstance(labels, list) and isinstance(found, list):
        if len(labels) != len(found):
            raise Unfit(f"{name} has {len(labels)} labels and {len(found)} texts; give a label to each text")
        pairs = list(zip(labels, found, strict=True))
    else:
        # A column of Parquet has every key in each row.
        pairs = [(label, option) for label, option in value.items() if option is not None]
    return _ordered(pairs, name)


def _ordered(pairs: Sequence[tuple[Any, Any]], name: str) -> list[Any]:
    by_label = {str(label).strip().upper(): option for label, option in pairs}
    for labels in (list(LETTERS[: len(pairs)]), [str(number + 1) for number in range(len(pairs))]):
        if by_label.keys() == set(labels):
            return [by_label[label] for label in labels]
    found = ", ".join(str(label) for label, _ in pairs[:8])
    raise Unfit(f"{name} must be labelled A, B, C or 1, 2, 3 and so on, without a gap (found {shown(found)})")
