"""`RUN/labels.jsonl`: what a person says of candidates, in the form that `veridistill audit --labels` reads.

    {"id": "q17", "candidate": 3, "correct": true, "round": 1}        null where the person is unsure

One line for each candidate, the last word on it. A label is on disk when `put` returns: the whole file is written under
another name, synced and renamed. Lines that are no such labels stay as they are.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from veridistill.data.parquet import sync_directory
from veridistill.data.rundir import write_atomically

Word = Literal["right", "wrong", "unsure"]
WORDS: dict[Word, bool | None] = {"right": True, "wrong": False, "unsure": None}
FILE = "labels.jsonl"


@dataclass(frozen=True, slots=True)
class Labelled:
    """The candidate that a label is of. Lines that a person wrote without a round are of every round."""

    round: int | None
    seed_id: str
    candidate: int


def read(path: Path) -> dict[Labelled, bool | None]:
    """The labels of candidates; empty without a file. Raises `OSError`."""
    return {key: word for key, word in map(_parsed, _lines(path)) if key is not None}


def of_round(labels: Mapping[Labelled, bool | None], number: int) -> dict[tuple[str, int], bool | None]:
    """The labels of a round's candidates, by question and index."""
    return {(key.seed_id, key.candidate): word for key, word in labels.items() if key.round in (None, number)}


def put(path: Path, number: int, seed_id: str, candidate: int, word: Word) -> None:
    """Replace what was said of a candidate. Raises `OSError` when the file cannot be written."""
    lock = os.open(path.with_name("view") / "labels.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        replaced = {Labelled(one, seed_id, candidate) for one in (None, number)}
        lines = [line for line in _lines(path) if _parsed(line)[0] not in replaced]
        label = {"id": seed_id, "candidate": candidate, "correct": WORDS[word], "round": number}
        write_atomically(
            path, "".join(f"{line}\n" for line in (*lines, json.dumps(label, ensure_ascii=False)))
        )
        sync_directory(path.parent)
    finally:
        os.close(lock)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return []
    return [line for line in text.split("\n") if line.strip()]


def _parsed(line: str) -> tuple[Labelled | None, bool | None]:
    """The label in a line; no key where there is none."""
    try:
        record = json.loads(line)
        word = record["correct"]
        key = Labelled(record.get("round"), record["id"], record["candidate"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, None
    good = (
        isinstance(key.seed_id, str) and type(key.candidate) is int and (word is None or type(word) is bool)
    )
    return (key, word) if good and (key.round is None or type(key.round) is int) else (None, None)
