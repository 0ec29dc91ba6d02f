"""Progress: plain lines on time and without control codes, a heartbeat, counts that never fall, and never a fault."""

import io
import json
import os
import re
import threading
from pathlib import Path

import pytest

from veridistill.report import phrases
from veridistill.report.heartbeat import read
from veridistill.report.progress import Progress, Step
from veridistill.report.traffic import Traffic

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


class Traffics:
    """What a step's calls are at, as a test says."""

    def __init__(self, **fields: int) -> None:
        self.now = Traffic(slots=10, **fields)

    def __call__(self) -> Traffic:
        return self.now


def words(progress: Progress) -> str:
    return phrases.line(progress.record).replace("\N{NO-BREAK SPACE}", " ")


def passed(clock: Clock, step: Step, seconds: int) -> None:
    """Seconds of the clock, with the tick that the thread would make in each."""
    for _ in range(seconds):
        clock.now += 1
        step.tick()


def test_one_plain_line_soon_one_a_minute_and_one_at_the_end(tmp_path: Path) -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress(tmp_path, stream=stream, clock=clock).step("build", 1500, "questions") as step:
        for second in range(150):
            step.update(5 * second, kept=second)
            passed(clock, step, 1)
        step.update(1500)
    lines = stream.getvalue().replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert len(lines) == 4, "after 10, 70, 130 seconds, and at the end"
    assert re.match(r"build: 45/1,500 questions \(3 %\), kept 9, memory \S+ GB, 10 s, \d+ min left", lines[0])
    assert lines[-1] == "build: 1,500/1,500 questions (100 %), kept 149, done in 2 min 30 s"
    assert not CONTROL.search(stream.getvalue())


def test_calls_and_tokens_are_shown_before_anything_is_done(tmp_path: Path) -> None:
    clock = Clock()
    watch = Traffics(in_flight=8, tokens=900)
    progress = Progress(tmp_path, "quiet", clock=clock)
    with progress.step("build", 24, "questions", watch) as step:
        passed(clock, step, 1)
        watch.now = Traffic(8, 10, tokens=1900, expected=(200, 300))
        passed(clock, step, 1)
        said = words(progress)
        for shown in ("0/24 questions", "0 of 200 to 300 calls", "8/10 slots in use", "80 % busy"):
            assert shown in said, shown
        assert "1,900 tokens, 500 tokens/s" in said
        watch.now = Traffic(
            8, 10, asked=50, replayed=100, tokens=1900, expected=(200, 300), reasks=3, retries=2
        )
        passed(clock, step, 10)
        said = words(progress)
        assert "150 of 200 to 300 calls, 100 replayed, 50 asked" in said
        assert "3 asked again, 2 retries" in said
        # 50 calls in 12 seconds: 50 to 150 more.
        assert progress.record["seconds_left"] == {"low": 12.0, "high": 36.0}
        assert said.endswith("12 to 36 s left")


def test_nothing_falls_whatever_the_counts_do(tmp_path: Path) -> None:
    clock, progress = Clock(), Progress(tmp_path, "quiet")
    progress.clock = clock
    watch = Traffics()
    seen = []
    with progress.step("build", 10, "questions", watch) as step:
        for done, asked, tokens, high in (
            (1, 10, 100, 20),
            (5, 30, 90, 200),
            (2, 20, 300, 1000),
            (6, 40, 200, 50),
        ):
            watch.now = Traffic(1, 10, asked=asked, tokens=tokens, expected=(asked, high))
            step.update(done)
            passed(clock, step, 1)
            record = progress.record
            seen.append(
                (record["share"], record["done"], record["calls"]["done"], record["tokens"]["decoded"])
            )
    for column in zip(*seen, strict=True):
        assert list(column) == sorted(column)
    assert max(share for share, *_ in seen) < 1.0, "the bar is not full before the end"
    assert progress.record["share"] == 1.0


def test_a_resumed_run_counts_what_it_replays_apart(tmp_path: Path) -> None:
    progress = Progress(tmp_path, "quiet")
    with progress.step("build", 10, "questions", Traffics(asked=5, replayed=1234)) as step:
        step.tick()
    assert "1,239 calls, 1,234 replayed, 5 asked" in words(progress)


def test_the_heartbeat_goes_on_while_nothing_calls_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veridistill.report.progress.TICK_SECONDS", 0.001)
    beats = threading.Semaphore(0)
    write = Progress._write

    def counted(self: Progress, more: dict[str, object]) -> None:
        write(self, more)
        beats.release()

    monkeypatch.setattr(Progress, "_write", counted)
    with Progress(tmp_path, "quiet") as progress:
        with progress.step("load model"):
            for _ in range(5):
                assert beats.acquire(timeout=20)
        for _ in range(5):  # between two steps too
            assert beats.acquire(timeout=20)
        found = read(tmp_path) or {}
        assert (found["pid"], found["ended"]) == (os.getpid(), False)
    assert (read(tmp_path) or {})["ended"] is True
    assert not [one for one in threading.enumerate() if one.name == "veridistill-progress"]


def test_facts_cannot_bring_control_codes(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress(tmp_path, stream=stream).step("train\x1b[31m", 10, "steps") as step:
        step.update(10, loss=0.123456, model="a\x1b]0;x\x07\nb")
    assert not CONTROL.search(stream.getvalue())
    assert len(stream.getvalue().splitlines()) == 1
    assert "loss 0.1235" in stream.getvalue()


def test_progress_json_is_whole_and_keeps_the_steps_before(tmp_path: Path) -> None:
    clock = Clock()
    progress = Progress(tmp_path, "quiet", clock=clock, wall=lambda: 5000.0)
    with progress.step("build", 100, "questions", Traffics(asked=7)) as step:
        step.update(99, kept=3)
        passed(clock, step, 2)
    with progress.step("train", None):
        clock.now += 1
    found = read(tmp_path)
    assert found is not None
    assert (found["step"], found["state"], found["total"], found["calls"]) == ("train", "done", None, None)
    (first,) = [one for one in found["steps"] if one["step"] == "build"]
    assert (first["done"], first["facts"], first["seconds"], first["calls"]["asked"]) == (
        99,
        {"kept": 3},
        2.0,
        7,
    )
    assert (found["updated_at"], first["moved_at"]) == (5003.0, 5001.0)
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_updated_at_never_goes_back(tmp_path: Path) -> None:
    clock, wall = Clock(), iter([5000.0])
    # Read once: a jump is not seen.
    progress = Progress(tmp_path, "quiet", clock=clock, wall=lambda: next(wall))
    seen = []
    with progress.step("build", 3) as step:
        for _ in range(3):
            passed(clock, step, 2)
            seen.append((read(tmp_path) or {})["updated_at"])
    assert seen == [5002.0, 5004.0, 5006.0]


def test_quiet_says_nothing(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress(tmp_path, "quiet", stream=stream).step("build", 1, "questions") as step:
        step.update(1)
    assert stream.getvalue() == ""
    assert read(tmp_path)


def test_a_step_that_fails_is_stopped_and_the_error_goes_on(tmp_path: Path) -> None:
    stream = io.StringIO()

    def interrupted() -> None:
        with Progress(tmp_path, stream=stream).step("build", 10, "questions") as step:
            step.update(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "stopped after" in stream.getvalue()
    assert (read(tmp_path) or {})["state"] == "stopped"


def test_finish_ends_a_step_once_and_quick_preparations_are_not_told(tmp_path: Path) -> None:
    stream = io.StringIO()
    progress = Progress(tmp_path, stream=stream)
    with progress.step("load model"):
        pass
    with progress.step("exam", 2, "attempts") as step:
        step.update(2)
        step.finish()
    assert len(stream.getvalue().splitlines()) == 1


def test_progress_never_ends_a_run(tmp_path: Path) -> None:
    clock = Clock()
    with Progress(tmp_path / "gone", stream=Closed(), clock=clock).step("build", 10) as step:
        step.update(1)
        passed(clock, step, 20)
    assert read(tmp_path / "gone") is None
    (tmp_path / "progress.json").write_text('{"step": ')
    assert read(tmp_path) is None


def test_a_loss_that_is_no_number_keeps_the_json_valid(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress(tmp_path, stream=stream).step("train", 10, "steps") as step:
        step.update(10, loss=float("nan"))
    found = json.loads((tmp_path / "progress.json").read_text(), parse_constant=pytest.fail)
    assert found["facts"]["loss"] is None
    assert "loss not a number" in stream.getvalue()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_gets_a_bar_and_lines_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    clock, stream = Clock(), Terminal()
    watch = Traffics(in_flight=10, asked=1234, replayed=999, tokens=1_234_567, judged=10, accepted=4)
    with Progress(tmp_path, stream=stream, clock=clock).step("build", 10, "questions", watch) as step:
        step.update(4, kept=3, votes=100, invalid_votes=2, model="[red]x[/red]")
        passed(clock, step, 2)
        shown = stream.getvalue()
    moved = re.sub(r"\r|\x1b\[\d*[AK]", "\n", shown)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", moved).replace("\N{NO-BREAK SPACE}", " ")
    assert "━" in plain or columns < 80
    for part in (
        "4/10 questions (40 %)",
        "2,233 calls",
        "4/10 candidates accepted (40 %)",
        "2/100 votes invalid",
    ):
        assert part in plain, part
    assert "[red]x[/red]" in plain
    assert all(len(row) <= columns for row in plain.splitlines())


def test_dumb_terminals_get_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with Progress(stream=stream).step("build", 1, "questions"):
        pass
    assert stream.getvalue()
    assert not CONTROL.search(stream.getvalue())
