"""What a comparison is shown as: sections, whose texts are read on a page alone."""

from dataclasses import dataclass

from veridistill.report.values import Table, count


@dataclass(frozen=True, slots=True)
class Reading:
    """Texts to read beside one another: a question and the answers to it."""

    title: str
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, sentences, tables, and texts that only a page has room for."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    readings: tuple[Reading, ...] = ()


def of_all(caption: str, shown: int, num: int) -> str:
    """A caption that says how much of it is listed."""
    return f"{caption}: {count(num)}" + (f", of which {shown} are listed" if shown < num else "")
