"""What the report reads back from the journal."""

import sqlite3
from contextlib import closing
from pathlib import Path

import zstandard

from tests.commands import questions, settings, veridistill
from veridistill.data.rundir import RunDir, read_json, stored_config
from veridistill.report.gather import examples


def test_a_reply_that_was_cut_and_asked_again_is_shown_as_it_counted(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert veridistill("build", "-d", path, *settings(questions(tmp_path))).code == 0
    run = RunDir(path, stored_config(path))
    results = read_json(run.results)
    before = list(examples(run, results))
    with closing(sqlite3.connect(run.journal)) as journal, journal:
        journal.execute(
            "INSERT INTO replies (rowid, unit, model, key, status, role, path, finish_reason, prompt_tokens,"
            " completion_tokens, text, context) SELECT rowid - 1000000, unit, model, key, status, role, path,"
            " 'length', 1, 1, ?, 16 FROM replies",
            (zstandard.compress(b"cut"),),
        )
    assert list(examples(run, results)) == before
    assert any(vote.replies for one in before for each in one.candidates for vote in each.votes)
