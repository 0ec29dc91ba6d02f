"""Merging runs: what shards asked is never asked again, merging twice changes nothing, other runs are told apart."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.commands import kept, questions, settings, veridistill
from veridistill.config import load
from veridistill.data.rundir import forked_journals, opened, stored_config
from veridistill.engines.scripted import ScriptedEngine
from veridistill.errors import ConfigError, RunLocked
from veridistill.runs.merge import merge, missing


def merged(parts: Sequence[Path], out: Path) -> dict[str, Any]:
    return asyncio.run(merge(parts, out))


def build(run: Path, seeds: Path, *fields: str) -> Path:
    done = veridistill("build", "-d", run, *settings(seeds, *fields))
    assert done.code == 0, done.err
    return run


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on 60 questions: `whole`, and `1`, `2`, `3` of three shards; read-only."""
    folder = tmp_path_factory.mktemp("built")
    seeds = questions(folder, 60)
    build(folder / "whole", seeds)
    for part in (1, 2, 3):
        build(folder / str(part), seeds, f"seeds.shard={part}/3")
    return folder


def parts(built: Path) -> list[Path]:
    return [built / name for name in "123"]


def rows(run: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(run / "journal.sqlite")) as journal:
        return journal.execute("SELECT * FROM replies ORDER BY rowid").fetchall()


def test_a_merged_run_keeps_what_one_build_keeps_without_a_call(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    counts = merged(parts(built), out)
    assert [part["copied"] for part in counts["parts"]] == [len(rows(part)) for part in parts(built)]
    assert {part["shard"] for part in counts["parts"]} == {"1/3", "2/3", "3/3"}
    assert counts["missing"] == []
    assert stored_config(out) == stored_config(built / "whole")

    async def refuse(self: Any, *request: Any) -> None:
        raise AssertionError("a call was asked again")

    monkeypatch.setattr(ScriptedEngine, "generate", refuse)
    build(out, built / "questions.jsonl")
    assert kept(out) == kept(built / "whole")
    assert len(kept(out)) > 20
    assert all(kept(part) < kept(out) for part in parts(built))


def test_merging_again_changes_nothing(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = merged(parts(built)[:2], out)
    assert first["missing"] == ["3/3"]
    before = rows(out)
    again = merged([*parts(built)[:2], built / "1"], out)
    assert [(part["copied"], part["already_there"]) for part in again["parts"]] == [
        (0, len(rows(part))) for part in parts(built)[:2]
    ]
    assert rows(out) == before
    assert [part["copied"] for part in merged(parts(built), out)["parts"]] == [0, 0, len(rows(built / "3"))]
    assert len(rows(out)) == len({(row[2], row[3]) for row in rows(out)})


def test_a_merge_that_stopped_between_parts_is_repeated(built: Path, tmp_path: Path) -> None:
    """Each part is one transaction: what a kill leaves is a merge of the parts before."""
    broken, out = tmp_path / "2", tmp_path / "out"
    shutil.copytree(built / "2", broken)
    (broken / "journal.sqlite").unlink()
    with pytest.raises(ConfigError, match="has asked nothing"):
        merged([built / "1", broken, built / "3"], out)
    assert rows(out) == rows(built / "1")
    merged(parts(built), out)
    whole = tmp_path / "whole"
    merged(parts(built), whole)
    assert rows(out) == rows(whole)


def test_cancelled_calls_are_copied_once_and_never_hide_a_reply(built: Path, tmp_path: Path) -> None:
    part, out = tmp_path / "1", tmp_path / "out"
    shutil.copytree(built / "1", part)
    with closing(sqlite3.connect(part / "journal.sqlite")) as journal, journal:
        journal.execute("CREATE TEMP TABLE c AS SELECT * FROM replies LIMIT 5")
        journal.execute("UPDATE c SET status = 'cancelled'")
        journal.execute("DELETE FROM replies WHERE key IN (SELECT key FROM c)")
        journal.execute("INSERT INTO replies SELECT * FROM c")
    assert merged([part], out)["parts"][0]["copied"] == len(rows(part))
    assert merged([part, built / "1"], out)["parts"][1]["copied"] == 5
    statuses = [row[3] for row in rows(out)]
    assert (statuses.count("cancelled"), statuses.count("ok")) == (5, len(rows(built / "1")))


def test_replies_that_a_running_process_left_in_the_log_are_copied(built: Path, tmp_path: Path) -> None:
    """After a SIGKILL the latest rows lie in the write-ahead log alone."""
    part, out = tmp_path / "1", tmp_path / "out"
    shutil.copytree(built / "1", part)
    live = sqlite3.connect(part / "journal.sqlite")
    live.execute("PRAGMA wal_autocheckpoint=0")
    with live:
        live.execute("UPDATE replies SET text = x'28b52ffd2000010000' WHERE rowid = 1")
    copy = tmp_path / "copy"
    shutil.copytree(part, copy)
    live.close()
    assert (copy / "journal.sqlite-wal").stat().st_size > 0
    merged([copy], out)
    assert rows(out)[0][9] == bytes.fromhex("28b52ffd2000010000")


def test_runs_of_other_settings_are_refused_field_by_field(built: Path, tmp_path: Path) -> None:
    other = build(
        tmp_path / "other", built / "questions.jsonl", "judge.votes=1", "seeds.shard=2/3", "gate.width=9"
    )
    with pytest.raises(ConfigError) as caught:
        merged([built / "1", other], tmp_path / "out")
    assert str(caught.value).splitlines() == [
        f"{other}: cannot be merged into {tmp_path / 'out'}, since these settings differ between the runs:",
        "  judge.votes: 2 -> 1",
    ]
    assert not (tmp_path / "out").exists()
    merged([built / "1"], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"judge\.votes: 2 -> 1"):
        merged([other], tmp_path / "out")


def test_a_run_at_work_is_not_merged(built: Path, tmp_path: Path) -> None:
    part, out = tmp_path / "1", tmp_path / "out"
    shutil.copytree(built / "1", part)
    with opened(part, stored_config(part)), pytest.raises(RunLocked, match=f"{part}: in use"):
        merged([part], out)
    with opened(out, stored_config(out)), pytest.raises(RunLocked, match=f"{out}: in use"):
        merged([part], out)
    merged([part], out)
    assert len(rows(out)) == len(rows(part))


def test_bad_input(built: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run directory"):
        merged([built / "1", tmp_path], tmp_path / "out")
    with pytest.raises(ConfigError, match="one of the runs to merge"):
        merged([built / "1", built / "2"], built / "2")
    with opened(tmp_path / "new", load(None, ["seeds.shard=1/2"])):
        pass
    with pytest.raises(ConfigError, match="has asked nothing yet"):
        merged([tmp_path / "new"], tmp_path / "out")


def test_forked_journals_are_read_by_the_merged_run_too(built: Path, tmp_path: Path) -> None:
    old = [tmp_path / "old1.sqlite", tmp_path / "old2.sqlite"]
    for number, journal in enumerate(old, 1):
        shutil.copytree(built / str(number), tmp_path / str(number))
        (tmp_path / str(number) / "forks.json").write_text(json.dumps([str(journal)]), encoding="utf-8")
    out = tmp_path / "out"
    for _ in range(2):
        merged([tmp_path / "1"], out)
        merged([tmp_path / "2", tmp_path / "1"], out)
        assert list(forked_journals(out)[1:]) == old


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        (["1/1"], []),
        (["1/3", "3/3"], ["2/3"]),
        (["2/2", "1/3"], ["1/2", "2/3", "3/3"]),
        ([None, "1/3"], []),
    ],
)
def test_missing_shards(shards: list[str | None], expected: list[str]) -> None:
    assert missing(shards) == expected
