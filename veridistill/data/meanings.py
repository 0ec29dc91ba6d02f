"""What a row of each table is and what its columns mean: for `docs/tables.md` and for the card of an exported dataset.

The types stand in `tables`. `python -m veridistill.data.meanings` prints the tables of `docs/tables.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from veridistill.data import tables
from veridistill.data.parquet import Table


@dataclass(frozen=True, slots=True)
class Meaning:
    """`files`: where the table lies in the folder of a round; `row`: what one of its rows is; then each column."""

    files: str
    row: str
    columns: Mapping[str, str]


_SEED_ID = "id of the question: a hash of its text, or the id that `seeds.id` names"
_DOMAIN = "`math`, `science` or `code`"
_PROBLEM_ID = "id of the problem, unique within its benchmark"
_BENCHMARK = "name of the benchmark, or of the file of problems"
_FINISH = "why the reply ended, in the engine's words: `stop`, `length`, …; `refused` if there is none"

MEANINGS: Mapping[str, Meaning] = {
    "seeds": Meaning(
        "tables/seeds.parquet",
        "a seed question of the build, in the order of the seed files",
        {
            "seed_id": _SEED_ID,
            "question": "the text, options included",
            "domain": _DOMAIN,
            "source": "file and row that it came from, such as `questions.jsonl:17`",
        },
    ),
    "candidates": Meaning(
        "tables/candidates.parquet",
        "a candidate that was sampled for a question",
        {
            "seed_id": _SEED_ID,
            "index": "sampling index within the question, from 0",
            "outcome": "`accepted`, `rejected`, `malformed`, `unjudged` (a vote stayed invalid and none was no) or"
            " `skipped` (not judged, since nothing depended on it)",
            "rejected_by": "stage that ended the candidate, or the defect of a malformed one; null if there is none",
            "kept": "whether it is a training example, unless its row was dropped as unfit to train on",
            "answer": "what judges saw: the text after the last `</think>`",
            "text": "the whole reply as sampled, reasoning included",
            "finish_reason": _FINISH,
            "prompt_tokens": "tokens of the prompt",
            "completion_tokens": "tokens of the reply",
        },
    ),
    "votes": Meaning(
        "tables/votes.parquet",
        "a vote that was cast on a candidate; asked lazily, so most candidates lack some",
        {
            "seed_id": _SEED_ID,
            "candidate": "index of the candidate",
            "stage": "`cycle_consistency`, `factuality`, `correctness` or `simple`",
            "index": "index of the vote within the stage, from 0",
            "ballot": "`yes`, `no` or `invalid`, after follow-up and re-asks",
            "reason": "why an invalid vote is invalid, else empty",
        },
    ),
    "problems": Meaning(
        "tables/problems.parquet",
        "a problem of the exam",
        {
            "problem_id": _PROBLEM_ID,
            "benchmark": _BENCHMARK,
            "kind": "how answers are compared: `integer`, `math`, `quantity`, `choice`, `exact` or `code`",
            "question": "what is asked, options and starter code included",
            "reference": "the right answer: a letter if there are options, empty for programs",
            "domain": _DOMAIN,
            "options": "options of a multiple-choice problem in the order shown, else empty",
            "tests": "tests of a program as JSON, or where they lie: `@path:offset:length`; else empty",
        },
    ),
    "attempts": Meaning(
        "tables/exam_base.parquet, exam_after.parquet, ttc_base.parquet, ttc_after.parquet",
        "a graded answer to a problem: of an exam each sample, of the cascade at test time (`ttc_*`) the chosen one",
        {
            "problem_id": _PROBLEM_ID,
            "benchmark": _BENCHMARK,
            "index": "sampling index within the problem, from 0",
            "answer": "the final answer that was found, null if there is none",
            "outcome": "`pass`, `wrong`, `no_answer`, `refused`, for programs also `runtime_error`, `timeout`, `memory`"
            " or `output_limit`; neither right nor wrong are `sandbox_error`, `grader_error` and"
            " `unreadable_reference`",
            "error": "what went wrong, else empty",
            "finish_reason": _FINISH,
            "completion_tokens": "tokens of the reply",
            "response": "the whole reply, reasoning included",
        },
    ),
    "examples": Meaning(
        "dataset/examples.parquet",
        "a kept candidate as a training example",
        {
            "seed_id": _SEED_ID,
            "candidate": "index of the candidate",
            "prompt_ids": "token ids of the prompt, as sent",
            "completion_ids": "token ids of the reply, as sampled, end of turn included",
            "messages": "the same as text: the user's turn and the assistant's, each with `role` and `content`",
        },
    ),
    "train_rows": Meaning(
        "dataset/train.parquet",
        "an example as any trainer takes it",
        {
            "seed_id": _SEED_ID,
            "input_ids": "token ids of prompt and reply",
            "labels": "the same ids, with -100, which carries no loss, for those of the prompt",
        },
    ),
}

TABLES: Mapping[str, Table[Any]] = {
    table.name: table
    for table in (
        tables.SEEDS,
        tables.CANDIDATES,
        tables.VOTES,
        tables.PROBLEMS,
        tables.ATTEMPTS,
        tables.EXAMPLES,
        tables.TRAIN_ROWS,
    )
}


def reference() -> str:
    """The tables of `docs/tables.md`: for each kind of row its files, and each column with type and meaning."""
    parts = []
    for name, table in TABLES.items():
        meaning = MEANINGS[name]
        files = ", ".join(f"`{file}`" for file in meaning.files.split(", "))
        parts.append(
            f"### {name}\n\n{files}: {meaning.row}.\n\n{columns_table(table.columns, meaning.columns)}\n"
        )
    return "\n".join(parts)


def columns_table(types: Mapping[str, str], meanings: Mapping[str, str]) -> str:
    """Columns as a Markdown table."""
    rows = [f"| `{name}` | {kind_in_words(kind)} | {meanings[name]} |" for name, kind in types.items()]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


def kind_in_words(kind: str) -> str:
    """A column's type as people read it: "list of int32", "string or null"."""
    plain = kind.removesuffix("?")
    if plain.startswith("list<"):
        plain = f"list of {plain[5:-1]}"
    return f"{plain} or null" if kind.endswith("?") else plain


if __name__ == "__main__":
    print(reference(), end="")
