"""What tests of the command share: to run it in this process on the scripted engine, and to look at a run."""

import io
import json
import sqlite3
import sys
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from veridistill import cli
from veridistill.data.tables import EXAMPLES


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        data = json.loads(self.out)
        assert isinstance(data, dict)
        return data


def veridistill(*args: str | Path) -> Done:
    """Run the command in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["veridistill", *map(str, args)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Done(code, out.getvalue(), err.getvalue())


def questions(folder: Path, num: int = 12) -> Path:
    path = folder / "questions.jsonl"
    lines = [json.dumps({"question": f"What is {i} plus {7 * i}?"}) for i in range(num)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def script(folder: Path, **fields: Any) -> Path:
    """A script of the scripted engine; JSON is YAML."""
    path = folder / f"script{len(list(folder.glob('script*')))}.yaml"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path


def settings(seeds: Path, *more: str) -> list[str]:
    """A small build on the scripted engine that asks nothing early, so that its calls can be counted."""
    fields = [
        "model=any",
        f"seeds.path={seeds}",
        "engine.kind=scripted",
        "prompts=compact",  # a scripted reply is drawn by its prompt: what tests count must not hang on the wording
        "build.speculation=off",
        "build.audit_share=0",
        "build.canary_share=0",
    ]
    fields += ["generate.candidates=3", "judge.votes=2", *more]
    return [part for field in fields for part in ("-o", field)]


def calls(run: Path) -> dict[bytes, tuple[str, str]]:
    """The journalled calls by key: (status, role)."""
    with closing(sqlite3.connect(run / "journal.sqlite")) as journal:
        return {
            key: (status, role)
            for key, status, role in journal.execute("SELECT key, status, role FROM replies")
        }


def kept(run: Path) -> set[tuple[str, int]]:
    return {
        (row.seed_id, row.candidate)
        for row in EXAMPLES.read(run / "rounds" / "1" / "dataset" / "examples.parquet")
    }


def results(run: Path) -> dict[str, Any]:
    data = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data
