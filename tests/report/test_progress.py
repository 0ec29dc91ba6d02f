"""Progress: plain lines on time and without control codes, a throttled `progress.json`, and never a fault."""

import io
import json
import re
from pathlib import Path

import pytest

from veridistill.report.progress import Progress, read

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_one_plain_line_per_interval_and_one_at_the_end(tmp_path: Path) -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress(tmp_path, stream=stream, clock=clock).step("build", 1500, "questions") as step:
        for tenth in range(300):
            clock.now = 100 + tenth / 10
            step.update(5 * tenth, kept=tenth, acceptance=0.25, tokens=100 * tenth)
        clock.now = 130.0
        step.update(1500, tokens=30_000)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert (
        lines[0]
        == "build: 500/1,500 questions (33 %), kept 100, acceptance 25 %, 1,000 tokens/s, 10 s, 20 s left"
    )
    assert lines[-1].endswith("done in 30 s")
    assert lines[-1].startswith("build: 1,500/1,500 questions (100 %)")
    assert not CONTROL.search(stream.getvalue())


def test_facts_cannot_bring_control_codes(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress(tmp_path, stream=stream).step("train\x1b[31m", 10, "steps") as step:
        step.update(10, loss=0.123456, model="a\x1b]0;x\x07\nb")
    assert not CONTROL.search(stream.getvalue())
    assert len(stream.getvalue().splitlines()) == 1
    assert "loss 0.1235" in stream.getvalue()


def test_progress_json_is_valid_and_throttled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = Clock(), []
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        written.append(json.loads(self.read_text()))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    progress = Progress(tmp_path, "quiet", clock=clock, wall=lambda: 5000.0)
    with progress.step("build", 100, "questions") as step:
        for thousandth in range(3000):
            clock.now = 100 + thousandth / 1000
            step.update(thousandth // 30, tokens=thousandth)
        assert len(written) == 3
        assert written[-1]["state"] == "running"
    with progress.step("train", None):
        pass
    found = read(tmp_path)
    assert found is not None
    assert found == written[-1]
    assert (found["step"], found["state"], found["total"]) == ("train", "done", None)
    assert found["steps"][0] | {"facts": {}} == {
        "step": "build", "state": "done", "done": 99, "total": 100, "unit": "questions", "facts": {},
        "seconds": 2.999, "tokens_per_second": 1000.0, "eta_seconds": None,
    }  # fmt: skip
    assert found["updated_at"] == 5002.999
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_updated_at_never_goes_back(tmp_path: Path) -> None:
    clock, wall = Clock(), iter([5000.0])
    progress = Progress(
        tmp_path, "quiet", clock=clock, wall=lambda: next(wall)
    )  # read once: a jump is not seen
    seen = []
    with progress.step("build", 3) as step:
        for done in range(3):
            clock.now += 2
            step.update(done)
            seen.append((read(tmp_path) or {})["updated_at"])
    assert seen == [5002.0, 5004.0, 5006.0]


def test_quiet_says_nothing(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress(tmp_path, "quiet", stream=stream).step("build", 1) as step:
        step.update(1)
    assert stream.getvalue() == ""
    assert read(tmp_path)


def test_a_step_that_fails_is_stopped_and_the_error_goes_on(tmp_path: Path) -> None:
    stream = io.StringIO()

    def interrupted() -> None:
        with Progress(tmp_path, stream=stream).step("build", 10) as step:
            step.update(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "stopped after" in stream.getvalue()
    assert (read(tmp_path) or {})["state"] == "stopped"


def test_finish_ends_a_step_once(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress(tmp_path, stream=stream).step("exam", 2) as step:
        step.update(2)
        step.finish()
    assert len(stream.getvalue().splitlines()) == 1


def test_progress_never_ends_a_run(tmp_path: Path) -> None:
    clock = Clock()
    with Progress(tmp_path / "gone", stream=Closed(), clock=clock).step("build", 10) as step:
        clock.now += 20
        step.update(1)
    assert read(tmp_path / "gone") is None
    (tmp_path / "progress.json").write_text('{"step": ')
    assert read(tmp_path) is None


def test_a_loss_that_is_no_number_keeps_the_json_valid(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress(tmp_path, stream=stream).step("train", 10) as step:
        step.update(10, loss=float("nan"), acceptance=float("inf"))
    assert (
        json.loads((tmp_path / "progress.json").read_text(), parse_constant=pytest.fail)["facts"]["loss"]
        is None
    )
    assert "loss nan, acceptance inf" in stream.getvalue()


def test_a_terminal_gets_a_live_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    clock, stream = Clock(), Terminal()
    with Progress(tmp_path, stream=stream, clock=clock).step("train", 10, "steps") as step:
        clock.now += 5
        step.update(4, loss=1.5, model="[red]x[/red]")
    assert "4/10 steps (40 %)" in stream.getvalue()
    assert "[red]x[/red]" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_dumb_terminals_get_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with Progress(stream=stream).step("build"):
        pass
    assert not CONTROL.search(stream.getvalue())
