"""A run directory: created whole, locked, resumed by rule, forked."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from veridistill.calls.journal import Entry, Journal
from veridistill.config import Config, load, parse
from veridistill.data.rundir import (
    RunDir,
    forked_journals,
    opened,
    read_json,
    stored_config,
    write_atomically,
    write_json,
)
from veridistill.errors import ConfigError, RunLocked
from veridistill.records import Completion

CONFIG = load(None, ["judge.votes=2"])


def test_files_of_a_run(tmp_path: Path) -> None:
    with opened(tmp_path / "a" / "run", CONFIG) as run:
        assert run.path == tmp_path / "a" / "run"
        assert run.journal == run.path / "journal.sqlite"
        assert run.round(2).examples == run.path / "rounds" / "2" / "dataset" / "examples.parquet"
        assert run.older == ()
    assert stored_config(tmp_path / "a" / "run") == CONFIG


def test_a_run_is_locked_while_it_is_open(tmp_path: Path) -> None:
    with (
        opened(tmp_path, CONFIG),
        pytest.raises(RunLocked, match="in use by another process"),
        opened(tmp_path, CONFIG),
    ):
        pass
    with opened(tmp_path, CONFIG):
        pass


def test_the_lock_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), opened(tmp_path, CONFIG):
        raise ZeroDivisionError
    with opened(tmp_path, CONFIG):
        pass


def test_another_identity_field_is_refused_field_by_field(tmp_path: Path) -> None:
    with opened(tmp_path, CONFIG) as run:
        run.journal.touch()
    other = load(None, ["judge.votes=3", "seed=1", "gate.width=9"])
    with pytest.raises(ConfigError, match="--fork") as caught, opened(tmp_path, other):
        pass
    assert str(caught.value).split("\n")[1:] == ["  seed: 0 -> 1", "  judge.votes: 2 -> 3"]
    assert stored_config(tmp_path) == CONFIG


def test_settings_may_be_put_right_until_something_is_asked(tmp_path: Path) -> None:
    with opened(tmp_path, CONFIG):
        pass
    other = load(None, ["judge.votes=3"])
    with opened(tmp_path, other):
        pass
    assert stored_config(tmp_path) == other


def test_another_runtime_field_is_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path, CONFIG):
        pass
    other = load(None, ["judge.votes=2", "gate.width=9", "build.order=paper"])
    with opened(tmp_path, other) as run:
        assert run.config.gate.width == 9
    assert stored_config(tmp_path) == other


@pytest.mark.parametrize("at", ["file", "file/run"])
def test_a_file_in_the_way(tmp_path: Path, at: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="name another --out"), opened(tmp_path / at, CONFIG):
        pass
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("read", [stored_config, forked_journals])
def test_no_run_there(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(ConfigError, match="not a run directory"):
        read(tmp_path)


def test_a_fork_of_a_fork_reads_both_journals(tmp_path: Path) -> None:
    names = ["one", "two", "three"]
    for name, older in zip(names, [None, *names], strict=False):
        forked = () if older is None else forked_journals(tmp_path / older)
        with opened(tmp_path / name, CONFIG, forked) as run:
            assert len(run.older) == names.index(name)
    expected = tuple(tmp_path / name / "journal.sqlite" for name in ("two", "one"))
    with opened(tmp_path / "three", CONFIG) as run:
        assert run.older == expected


def test_the_journal_may_lie_elsewhere(tmp_path: Path) -> None:
    config = load(None, [f"journal.path={tmp_path / 'fast.sqlite'}"])
    with opened(tmp_path / "run", config) as run:
        assert run.journal == tmp_path / "fast.sqlite"
    assert forked_journals(tmp_path / "run") == (tmp_path / "fast.sqlite",)


def test_a_stored_configuration_that_was_spoilt_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("judge: [")
    with pytest.raises(ConfigError, match="not YAML"), opened(tmp_path, Config()):
        pass


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    write_json(path, {"a": "解"})
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert read_json(path) == {"a": "解"}
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "解"}
    assert read_json(tmp_path / "none.json") == {}


def test_an_exam_may_be_added_until_it_was_sat(tmp_path: Path) -> None:
    plain, examined = parse({}), parse({"evaluation": {"problems": "exam.jsonl"}})
    with opened(tmp_path, plain) as run:
        run.journal.touch()
    with opened(tmp_path, examined) as run:
        tables = run.round(1).tables
        tables.mkdir(parents=True)
        (tables / "exam_base.parquet").touch()
    with pytest.raises(ConfigError, match=r"evaluation\.problems"), opened(tmp_path, plain):
        pass


def test_a_fork_never_writes_into_the_journal_it_reads(tmp_path: Path) -> None:
    journal = tmp_path / "shared.sqlite"
    config = parse({"journal": {"path": str(journal)}})
    with pytest.raises(ConfigError, match=r"journal\.path"), opened(tmp_path / "fork", config, (journal,)):
        pass


# After a ConfigError before anything was asked.


def fail(path: Path, before: Callable[[RunDir], object], config: Config = CONFIG) -> None:
    """A run whose engine finds its settings wrong once `before` was done."""

    def run() -> None:
        with opened(path, config) as found:
            before(found)
            raise ConfigError("model.path: wrong")

    with pytest.raises(ConfigError, match=r"model\.path: wrong"):
        run()


def begin(run: RunDir, *entries: Entry) -> None:
    """Journal and tables, as they are before the first reply."""

    async def write() -> None:
        journal = Journal(run.journal)
        for entry in entries:
            await journal.append(entry)
        await journal.close()

    run.round(1).tables.mkdir(parents=True)
    asyncio.run(write())


def test_a_new_directory_is_removed_again(tmp_path: Path) -> None:
    fail(tmp_path / "run", begin)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_was_empty_is_emptied_and_links_are_not_followed(tmp_path: Path) -> None:
    run, mine = tmp_path / "run", tmp_path / "mine"
    run.mkdir()
    mine.mkdir()
    (mine / "file").touch()
    fail(run, lambda found: (found.path / "link").symlink_to(mine))
    assert list(run.iterdir()) == []
    assert [file.name for file in mine.iterdir()] == ["file"]


def test_nothing_of_others_is_removed_and_the_settings_may_be_put_right(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").touch()
    fail(tmp_path, begin)
    assert (tmp_path / "seeds.jsonl").exists()
    other = load(None, ["judge.votes=3"])
    with opened(tmp_path, other) as run:
        assert run.config == other


@pytest.mark.parametrize("status", ["ok", "cancelled"])
def test_what_was_asked_is_kept(tmp_path: Path, status: Any) -> None:
    entry = Entry("unit", "model", b"key", status, "solve", ("unit",), Completion("", "stop", 1, 1))
    fail(tmp_path / "run", lambda run: begin(run, entry))
    with pytest.raises(ConfigError, match="--fork"), opened(tmp_path / "run", Config()):
        pass


def test_what_is_no_journal_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    fail(tmp_path / "run", lambda run: run.journal.write_text("mine"))
    assert (tmp_path / "run" / "journal.sqlite").read_text() == "mine"
