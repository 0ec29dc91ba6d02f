"""Prompt sets: eight to ten text files each, filled in one pass, with the data between fences.

A judge's template shows its data in blocks, `[question]` … `[/question]` and the like. What goes into a
block is data: it is inserted once and never scanned again for placeholders, and the brackets of any fence tag inside it
are made round, so that a candidate can neither close its own block nor open another. A template that asks for a
solution has no blocks; the question goes in as it is.

The engines keep chat markers such as `<|im_end|>` in the data from becoming control tokens.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path

from veridistill.errors import ConfigError
from veridistill.records import Message, Messages

NAMES = ("thinking", "instruct", "compact")
"""For models that reason before they answer; for plain instruct models, which are asked to work it out in the reply;
and for the lab's model, which learned these words alone."""

# What each template must show, once each. Infer must not see the question, nor compare the answer.
_PLACEHOLDERS = {
    "solve_math": ("question",),
    "solve_science": ("question",),
    "solve_code": ("question",),
    "infer": ("answer",),
    "compare": ("question", "inferred"),
    "factuality": ("question", "answer"),
    "correctness": ("question", "answer"),
    "simple": ("question", "answer"),
    "reference": ("question",),
    "verdict": ("ending",),
}
_OPTIONAL = ("reference", "verdict")
_VOTING = ("compare", "factuality", "correctness", "simple")
_UNFENCED = ("solve_math", "solve_science", "solve_code", "reference", "verdict")

_FIELD = re.compile(r"\{(question|answer|inferred|ending)\}")
# Possessive quantifiers keep this linear on a long run of blanks. Zero-width characters count as blanks: they
# would make a tag that reads like the real one.
_BLANK = "[\\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]*+"
_FENCE = re.compile(
    rf"[\[［]({_BLANK}[/／]?+{_BLANK}(?:question|answer|inferred){_BLANK})[\]］]", re.IGNORECASE
)


@dataclass(frozen=True)
class PromptSet:
    """The texts of one set, each a template for `fill`.

    `reference` asks a judge for a solution of its own before it sees the answer; `verdict` follows up a judge's reply
    that gave no verdict. Both are empty in a set without these files.
    """

    solve_math: str
    solve_science: str
    solve_code: str
    infer: str
    compare: str
    factuality: str
    correctness: str
    simple: str
    reference: str = ""
    verdict: str = ""

    @cached_property
    def version(self) -> str:
        """12 hex digits of all texts, for reports. Requests are identified by their rendered messages."""
        texts = "\0".join(getattr(self, field.name) for field in fields(self))
        return hashlib.blake2b(texts.encode("utf-8"), digest_size=6).hexdigest()


def load(name: str | Path) -> PromptSet:
    """The set of that name in `NAMES`, or the one in a directory that holds the .txt files.

    Raises `ConfigError` with every missing file, except reference.txt and verdict.txt, which may be absent, and every
    placeholder that is missing, repeated, unfenced or out of place.
    """
    folder = Path(__file__).parent / name if name in NAMES else Path(name)
    if not folder.is_dir():
        raise ConfigError(f"prompts: {name} is neither a directory nor one of {', '.join(NAMES)}")
    texts: dict[str, str] = {}
    errors: list[str] = []
    for stem in _PLACEHOLDERS:
        path = folder / f"{stem}.txt"
        if stem in _OPTIONAL and not path.exists():
            continue
        try:
            texts[stem] = path.read_text(encoding="utf-8-sig").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            errors.append(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})")
        else:
            errors += (f"{path}: {fault}" for fault in _faults(stem, texts[stem]))
    if errors:
        raise ConfigError("\n".join(errors))
    return PromptSet(**texts)


def fill(template: str, **values: str) -> str:
    """The template with its placeholders replaced, in one pass. Values that it does not show are ignored.

    Values are data: they are never scanned for placeholders, and in a template with blocks their fence tags
    are defused.
    """
    pieces, fenced = _parse(template)
    filled = list(pieces)
    for index in range(1, len(pieces), 2):
        value = values[pieces[index]]
        filled[index] = defuse(value) if fenced else value
    return "".join(filled)


def message(template: str, **values: str) -> Messages:
    """The filled template as one user message."""
    return (Message("user", fill(template, **values)),)


def ending(prompt: str) -> str:
    """The last paragraph of a judge's prompt behind its blocks, which says what its verdict line must be."""
    instruction = prompt.rpartition("\n[/")[2].partition("\n")[2]
    return instruction.rpartition("\n\n")[2]


def defuse(value: str) -> str:
    """The value with every fence tag's brackets made round: `[/answer]` becomes `(/answer)`."""
    if "[" in value or (not value.isascii() and "［" in value):
        return _FENCE.sub(r"(\1)", value)
    return value


@lru_cache(maxsize=256)
def _parse(template: str) -> tuple[tuple[str, ...], bool]:
    """Texts and placeholder names in turn, first and last a text; and whether the template has blocks."""
    return tuple(_FIELD.split(template)), _FENCE.search(template) is not None


def _faults(stem: str, text: str) -> Iterator[str]:
    """What is wrong with one template."""
    found = _FIELD.findall(text)
    wanted = _PLACEHOLDERS[stem]
    for name in wanted:
        if found.count(name) != 1:
            yield f"must hold {{{name}}} once; found {found.count(name)}"
        elif stem not in _UNFENCED and not _fenced(text, name):
            yield f"{{{name}}} must stand between a line [{name}] and a line [/{name}]"
    for name in sorted(set(found) - set(wanted)):
        yield f"must not hold {{{name}}}: this prompt is not shown it"
    if stem in _VOTING and not ("[[Y]]" in text and "[[N]]" in text):
        yield "must ask for [[Y]] or [[N]]"


def _fenced(text: str, name: str) -> bool:
    return f"\n[{name}]\n{{{name}}}\n[/{name}]\n" in f"\n{text}\n"
