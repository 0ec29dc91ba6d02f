"""Public data of shared formats, made into what a user hands to a run: questions without answers, and an exam.

    math      gsm8k_train.jsonl (seeds), gsm8k_test.jsonl (exam)
    science   mmlu_science.jsonl: its first 500 rows are for seeds, the rest for exams
    code      mbpp.jsonl, by task_id: 601 to 974 for seeds, shown with one of their tests; the benchmark's own split,
              11 to 510, for exams, shown as the benchmark shows them

`prepare` samples both with a fixed seed and writes `seeds.jsonl`, `references.jsonl` (what grades the seeds'
candidates, read by nothing but the measurement), `exam.jsonl` and `others.jsonl` (a smaller exam of the other domains).
That seeds and exam do not overlap is left to the run's own decontamination, for which more seeds are written than are
asked for.
"""

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.domains.options import LETTERS
from veridistill.evaluation import benchmarks
from veridistill.grading import asserts

Row = dict[str, Any]
SPARE = 1.25
"""Seeds written for each seed asked for: some are dropped as overlapping with the exam or one another."""
CODE_SEEDS = range(601, 975)
_GSM8K_ANSWER = re.compile(r"####\s*(-?[\d,]+)\s*\Z")


@dataclass(frozen=True, slots=True)
class Item:
    """One item as the three files have it: the columns that a run may read, an exam's line, and what grades a reply."""

    item_id: str
    columns: Row
    problem: Row
    grading: Row

    def as_seed(self) -> Row:
        return {"id": self.item_id, **self.columns}

    def as_problem(self, domain: str) -> Row:
        return {"id": self.item_id, "domain": domain, **self.problem}

    def as_reference(self) -> Row:
        return {"id": self.item_id, **self.grading}


@dataclass(frozen=True, slots=True)
class Split:
    """A domain's items for seeds and for exams, in the order of the files."""

    seeds: list[Item]
    exam: list[Item]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The files of one domain."""

    seeds: Path
    references: Path
    exam: Path
    others: Path


def prepare(
    data: Path, folder: Path, domain: str, num_seeds: int, num_exam: int, num_others: int, seed: int = 0
) -> Prepared:
    """Write the files, the same ones for the same arguments. Raises `ValueError` when the data hold too few items."""
    split = DOMAINS[domain](data)
    files = {name: folder / f"{name}.jsonl" for name in ("seeds", "references", "exam", "others")}
    seeds = sample(split.seeds, min(len(split.seeds), round(SPARE * num_seeds)), f"{seed}/{domain}/seeds")
    if len(seeds) < num_seeds:
        raise ValueError(
            f"{data}: {len(seeds)} {domain} items for seeds, fewer than the {num_seeds} asked for"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(files["seeds"], (item.as_seed() for item in seeds))
    write_lines(files["references"], (item.as_reference() for item in seeds))
    exam = sample(split.exam, num_exam, f"{seed}/{domain}/exam")
    write_lines(files["exam"], (item.as_problem(domain) for item in exam))
    write_lines(files["others"], _others(data, domain, num_others, seed))
    return Prepared(**files)


def _others(data: Path, domain: str, num: int, seed: int) -> list[Row]:
    """The exam of the other domains: the first ones of each domain's own exam."""
    return [
        item.as_problem(other)
        for other, read in DOMAINS.items()
        if other != domain
        for item in sample(read(data).exam, num, f"{seed}/{other}/exam")
    ]


def sample(items: Sequence[Item], num: int, seed: str) -> list[Item]:
    """`num` items in random order; a smaller sample is the beginning of a larger one."""
    if num > len(items):
        raise ValueError(f"{num} items were asked for, and there are {len(items)}")
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    return shuffled[:num]


def lines(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def write_lines(path: Path, rows: Iterable[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


# --- the domains ------------------------------------------------------------------------------------------------


def _math(data: Path) -> Split:
    return Split(*(_gsm8k(data, part) for part in ("train", "test")))


def _gsm8k(data: Path, part: str) -> list[Item]:
    items = []
    for number, row in enumerate(lines(data / f"gsm8k_{part}.jsonl"), 1):
        found = _GSM8K_ANSWER.search(row["answer"])
        if found is None:
            raise ValueError(f"gsm8k_{part}.jsonl: row {number} does not end in '#### ' and an integer")
        columns = {"question": row["question"]}
        grading = {"kind": "integer", "answer": found[1].replace(",", "")}
        items.append(Item(f"{part}-{number}", columns, columns | grading, grading))
    return items


def _science(data: Path) -> Split:
    rows = list(enumerate(lines(data / "mmlu_science.jsonl"), 1))
    seeds, exam = (
        [_choice(f"mmlu-{number}", row) for number, row in some if _is_whole(row)]
        for some in (rows[:500], rows[500:])
    )
    return Split(seeds, exam)


def _is_whole(row: Row) -> bool:
    """Whether each option is a text: in some copies an option "None" was read as a missing value."""
    return all(isinstance(option, str) for option in row["options"])


def _choice(name: str, row: Row) -> Item:
    columns = {"question": row["question"], "options": row["options"]}
    # By its index, since an option's text may itself be a letter.
    right = {"kind": "choice", "answer": LETTERS.index(row["answer"])}
    return Item(name, columns, columns | right, right | {"options": row["options"], "answer": row["answer"]})


def _code(data: Path) -> Split:
    exam = {problem.problem_id: problem for problem in benchmarks.named("mbpp", data=str(data))}
    rows = lines(data / "mbpp.jsonl")
    return Split(
        [_program(row, str(row["text"])) for row in rows if row["task_id"] in CODE_SEEDS],
        [_program(row, exam[str(row["task_id"])].question) for row in rows if str(row["task_id"]) in exam],
    )


def _program(row: Row, question: str) -> Item:
    """A task whose tests are Python."""
    tests, code = row["test_list"], row["code"].replace("\r\n", "\n")
    grading = {
        "kind": "code",
        "tests": {
            "kind": "asserts",
            "entry": asserts.called(tests, code),
            "tests": tests,
            "setup": row["test_setup_code"].replace("\r\n", "\n"),
            "solution": code,
        },
    }
    columns = {"text": row["text"], "test_list": tests[:1]}
    return Item(f"mbpp-{row['task_id']}", columns, {"question": question} | grading, grading)


DOMAINS: dict[str, Callable[[Path], Split]] = {"math": _math, "science": _science, "code": _code}
QUESTIONS: dict[str, Row] = {
    "math": {},
    "science": {"options": "options"},
    "code": {"question": "{text}\n\nYour code should pass, for example:\n{test_list[0]}"},
}
"""The settings that make questions of each domain's columns."""
