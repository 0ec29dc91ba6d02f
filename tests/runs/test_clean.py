"""`veridistill clean`: what goes, what stays, and when nothing may be touched."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.commands import calls, questions, results, settings, veridistill
from veridistill.data.rundir import locked


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished build."""
    path = tmp_path / "run"
    assert veridistill("build", "-d", path, *settings(questions(tmp_path))).code == 0
    return path


def put(path: Path, text: str = "x" * 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files(run: Path) -> set[Path]:
    """All but what SQLite makes and removes whenever somebody looks."""
    return {path for path in run.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))}


def test_it_says_what_could_go_and_removes_nothing(run: Path) -> None:
    put(run / "rounds" / "1" / "model" / "config.json")
    put(run / "rounds" / "1" / "train" / "checkpoints" / "checkpoint-9" / "optimizer.pt")
    put(run / ".report.html.123.tmp")
    before = files(run)
    done = veridistill("clean", run)
    assert done.code == 0
    assert "checkpoints: optimizer checkpoints of a training that is finished" in done.out
    assert done.out.endswith(f"2.0 kB could be freed, with veridistill clean --yes {run}\n")
    assert files(run) == before


def test_yes_frees_it_and_what_others_read_stays(run: Path) -> None:
    before, found, asked = files(run), results(run), calls(run)
    put(run / "rounds" / "1" / "model" / "config.json")
    put(run / "rounds" / "1" / "train" / "checkpoints" / "checkpoint-9" / "optimizer.pt")
    kept = put(run / "rounds" / "1" / "train" / "train.log")
    for name in (".progress.json.7.tmp", "config.yaml.tmp", "rounds/1/tables/.votes.parquet.tmp"):
        put(run / name)
    for name in ("rounds/1/dataset/.train.jsonl", "rounds/1/model.tmp/weights"):
        put(run / name)
    done = veridistill("clean", run, "--yes", "--json")
    assert done.json["bytes"] == 6000
    assert (done.json["freed"], len(done.json["items"])) == (True, 6)
    assert files(run) == before | {kept, run / "rounds" / "1" / "model" / "config.json"}
    assert veridistill("clean", run).out == f"{run}: nothing to free\n"
    assert (results(run), calls(run)) == (found, asked)
    assert veridistill("report", run).code == 0
    assert veridistill("status", run).code == 0


def test_checkpoints_of_a_training_that_is_not_finished_stay(run: Path) -> None:
    needed = put(run / "rounds" / "1" / "train" / "checkpoints" / "checkpoint-9" / "optimizer.pt")
    assert veridistill("clean", run, "--yes").out == f"{run}: nothing to free\n"
    assert needed.is_file()


def test_a_link_is_not_followed(run: Path, tmp_path: Path) -> None:
    precious = put(tmp_path / "elsewhere" / "precious")
    (run / "rounds" / "1" / "model").mkdir()
    (run / "rounds" / "1" / "train").mkdir(exist_ok=True)
    (run / "rounds" / "1" / "train" / "checkpoints").symlink_to(precious.parent)
    (run / "link.tmp").symlink_to(precious.parent)
    assert veridistill("clean", run, "--yes").out == f"{run}: nothing to free\n"
    assert precious.is_file()


def test_the_journals_log_is_folded_in_and_no_reply_is_lost(run: Path) -> None:
    asked = calls(run)
    reader = sqlite3.connect(run / "journal.sqlite")  # it keeps the log where a killed run would leave it
    with closing(reader):
        reader.execute("PRAGMA journal_mode=WAL")
        reader.execute("CREATE TABLE other (x)")
        reader.commit()
        assert (run / "journal.sqlite-wal").stat().st_size > 0
        done = veridistill("clean", run, "--yes", "--json")
        assert [Path(one["path"]).name for one in done.json["items"]] == ["journal.sqlite-wal"]
        assert (run / "journal.sqlite-wal").stat().st_size == 0
    assert calls(run) == asked


@pytest.mark.parametrize("options", [[], ["--yes"]])
def test_nothing_is_touched_while_a_process_is_at_work(run: Path, options: list[str]) -> None:
    left = put(run / "config.yaml.tmp")
    with locked(run):
        done = veridistill("clean", run, *options)
    assert done.code == 5
    assert "in use by another process" in done.err
    assert left.is_file()
