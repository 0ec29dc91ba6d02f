"""A run of another version opens, or one message says who made it, why not, and what can be done."""

import json
from pathlib import Path

import pytest

import veridistill
from tests.commands import kept, questions, settings
from tests.commands import veridistill as command
from veridistill.config import load
from veridistill.data import layout
from veridistill.data.rundir import opened, resumed_config, stored_config
from veridistill.errors import ConfigError

CONFIG = load(None, ["judge.votes=2"])


def old_run(path: Path, settings: str, version: str | None = "0.0.9") -> Path:
    """A run directory as an older version left it: without a layout."""
    path.mkdir()
    (path / "config.yaml").write_text(settings, encoding="utf-8")
    (path / "journal.sqlite").touch()
    if version:
        (path / "results.json").write_text(json.dumps({"version": version, "rounds": []}), encoding="utf-8")
    return path


def test_a_run_says_its_layout_and_version(tmp_path: Path) -> None:
    with opened(tmp_path, CONFIG):
        pass
    assert layout.readable(tmp_path) == layout.Layout(layout.LAYOUT, veridistill.__version__)
    (tmp_path / layout.FILE).write_text('{"layout": 1, "version": "0.0.1"}', encoding="utf-8")
    with opened(tmp_path, CONFIG):
        pass
    assert layout.readable(tmp_path).version == "0.0.1", "the version that made it stays"


def test_an_older_run_goes_on_where_its_settings_are_known(tmp_path: Path) -> None:
    run = old_run(tmp_path / "run", "judge: {votes: 2}\n")
    assert layout.readable(run) == layout.Layout(0, "0.0.9")
    assert resumed_config(run) == CONFIG
    with opened(run, CONFIG):
        pass
    with pytest.raises(ConfigError, match=r"judge\.votes: 2 -> 5"), opened(run, load()):
        pass


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("0.0.9", "made by veridistill 0.0.9; veridistill 0.1.0 cannot go on"),
        (None, "made by an unknown version of veridistill; "),
    ],
)
def test_an_older_run_with_settings_that_are_gone_is_read_and_not_resumed(
    tmp_path: Path, version: str | None, told: str
) -> None:
    run = old_run(tmp_path / "run", "judge: {votes: 2, lenient: true}\nolden: {a: 1}\n", version)
    assert stored_config(run) == CONFIG
    with pytest.raises(ConfigError) as caught:
        resumed_config(run, ["judge.votes=3"])
    message = str(caught.value)
    assert f"{run / 'config.yaml'}:1: unknown key judge.lenient" in message
    assert told.replace("0.1.0", veridistill.__version__) in message
    assert "can be read as it is: status, report, audit" in message
    with pytest.raises(ConfigError, match="cannot go on"):
        veridistill.build(out=run, votes=3)
    assert ("pip install 'veridistill==0.0.9'" in message) is (version is not None)
    for args in (("build", "-d", run), ("merge", run, "--out", tmp_path / "all")):
        done = command(*args)
        assert (done.code, done.out, told[:20] in done.err) == (2, "", True)
    assert command("report", run).code == 0
    assert not (tmp_path / "all").exists()


def test_a_later_run_is_not_touched(tmp_path: Path) -> None:
    seeds, run = questions(tmp_path), tmp_path / "run"
    assert command("build", "-q", "-d", run, *settings(seeds)).code == 0
    before = kept(run)
    (run / layout.FILE).write_text('{"layout": 7, "version": "3.1.0"}', encoding="utf-8")
    for args in (("build", "-d", run), ("report", run), ("train", "-d", run)):
        done = command(*args)
        assert done.code == 2
        assert "made by veridistill 3.1.0, with layout 7" in done.err
        assert "pip install 'veridistill>=3.1.0'" in done.err
    assert kept(run) == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layout": "x", "version": "1"}'])
def test_a_spoilt_layout_is_told(tmp_path: Path, text: str) -> None:
    run = old_run(tmp_path / "run", "judge: {votes: 2}\n")
    (run / layout.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"layout\.json: must look like"):
        stored_config(run)
