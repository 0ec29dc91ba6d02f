"""Humanity's Last Exam, the questions without an image. Gated; not to be published.

`hle_text` is its multiple-choice part, which is the paper's subset. `hle_text_all` adds the exact-match part, whose
official judge is a model: here a reference that reads as mathematics is compared as such and any other as text, so
right answers in other words count as wrong, and scores are lower bounds.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from veridistill.data.jsonl import shown
from veridistill.domains.options import LETTERS
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Kind, Problem

_COLUMNS = ("id", "question", "image", "answer", "answer_type")
_CHOICES_HEADING = re.compile(r"^[ \t]*answer choices:?[ \t]*$", re.IGNORECASE | re.MULTILINE)
_OPTION = re.compile(r"[ \t]*(?P<letter>[A-Z])[.)][ \t]+(?P<text>.*)")
# LaTeX, or one number: a name with a digit in it (H2O2, Sp(4)) is a text.
_MATHEMATICS = re.compile(r".*(?:\\[a-zA-Z]|[$^]).*|[-+]?[0-9][0-9.,/ ]*%?", re.DOTALL)


def _all(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    return _read(benchmark, paths, ("multipleChoice", "exactMatch"))


def _choices(benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
    return _read(benchmark, paths, ("multipleChoice",))


def _read(benchmark: Benchmark, paths: Sequence[Path], wanted: Sequence[str]) -> list[Problem]:
    def parse(row: Row) -> Problem | None:
        answer_type = row.text("answer_type")
        if answer_type and answer_type not in ("multipleChoice", "exactMatch"):
            row.fault(f"answer_type must be multipleChoice or exactMatch; found {shown(answer_type)}")
        if row.optional("image") or answer_type not in wanted:
            return None
        question, answer = row.text("question"), row.name("answer")
        kind = _kind(answer_type, answer)
        options = options_of(question) if kind == "choice" else ()
        # A letter beyond them says that they were not all recognised; the question shows them in any case.
        options = options if answer in LETTERS[: len(options)] else ()
        return Problem(row.text("id"), benchmark.name, kind, question, answer, "science", options)

    return problems(read(paths, _COLUMNS), benchmark, parse)


def _kind(answer_type: str, answer: str) -> Kind:
    if answer_type == "multipleChoice" and len(answer) == 1 and answer in LETTERS:
        return "choice"
    return "math" if _MATHEMATICS.fullmatch(answer) else "exact"


def options_of(question: str) -> tuple[str, ...]:
    """The options at the end of a question, below the last line `Answer Choices:`; none when they are not lettered
    A, B, C in turn. An option may run over several lines.
    """
    headings = list(_CHOICES_HEADING.finditer(question))
    if not headings:
        return ()
    options: list[str] = []
    for line in question[headings[-1].end() :].strip("\n").split("\n"):
        found = _OPTION.fullmatch(line)
        if found and len(options) < len(LETTERS) and found["letter"] == LETTERS[len(options)]:
            options.append(found["text"])
        elif options:
            options[-1] += f"\n{line}"
        elif line.strip():
            return ()
    return tuple(option.strip() for option in options)


_SOURCE = Source(
    "cais/hle",
    ("data/test-*.parquet",),
    "test",
    "MIT, and not to be shown in the open",
    "5a81a4c7271a2a2a312b9a690f0c2fde837e4c29",
    gated=True,
)
BENCHMARKS = (
    Benchmark("hle_text", _SOURCE, ("choice",), "science", 2_500, _choices, 513, "no image, multiple choice"),
    Benchmark(
        "hle_text_all", _SOURCE, ("choice", "exact", "math"), "science", 2_500, _all, 2_158, "no image"
    ),
)
