"""The command: exit codes with one clear message each, resume, fork, budgets, signals, and what goes where."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer

from tests.commands import calls, kept, questions, results, script, settings, veridistill
from veridistill import cli, config
from veridistill.data.rundir import opened, stored_config


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    return questions(tmp_path)


# --- exit 2: usage, configuration, data ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["seeds.path=missing.jsonl"], "missing.jsonl: cannot be read"),
        (["judge.votes=0"], "judge.votes: must be greater than or equal to 1 (found 0)"),
        (
            ["generate.candidates=0"],
            "generate.candidates: must be greater than or equal to 1 (found 0)",
        ),
        (["judge.votes=many"], "judge.votes: must be a valid integer"),
        (["judge.vots=3"], "unknown key judge.vots; did you mean judge.votes?"),
        (["judge.stages=[truth]"], "judge.stages.0: must be 'cycle_consistency'"),
        (["build.order=random"], "build.order: must be 'cheapest' or 'paper' (found 'random')"),
        (["judge.votes"], "must be key=value"),
        (["engine.script=missing.yaml"], "engine.script: missing.yaml cannot be read"),
        (["prompts=missing"], "prompts: missing is neither a directory nor one of"),
    ],
)
def test_wrong_settings(tmp_path: Path, seeds: Path, fields: list[str], message: str) -> None:
    done = veridistill("build", "-d", tmp_path / "run", *settings(seeds, *fields))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "run" / "rounds").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "holds no questions"),
        ('{"question": "a"}\n{"question": ""}\n', ":2: question is empty"),
        ('{"question": 3}\n', ":1: question must be text (found 3)"),
        ('{"problem": "a"}\n', "did you mean seeds.question=problem?"),
        ("not json\n", ":1: is not JSON"),
    ],
)
def test_wrong_seeds(tmp_path: Path, seeds: Path, content: str, message: str) -> None:
    seeds.write_text(content, encoding="utf-8")
    done = veridistill("build", "-d", tmp_path / "run", *settings(seeds))
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["build", "--bogus"], "No such option"),
        (["biuld"], "No such command"),
        (["build", "--votes", "x"], "valid integer"),
        (["build", "missing.yaml"], "missing.yaml: cannot be read"),
        (["status", "nowhere"], "nowhere: not a run directory"),
        (["report", "nowhere"], "nowhere: not a run directory"),
        (["build", "-d", "nowhere", "--fork", "new"], "nowhere: not a run directory"),
    ],
)
def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = veridistill(*args)
    assert (done.code, done.out) == (2, "")
    assert message in done.err.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_a_run_directory_that_cannot_be_written(tmp_path: Path, seeds: Path) -> None:
    (tmp_path / "run").write_text("mine")
    done = veridistill("build", "-d", tmp_path / "run", *settings(seeds))
    assert done.code == 2
    assert "cannot be used as a run directory" in done.err


def test_steps_that_lack_what_they_need(tmp_path: Path, seeds: Path) -> None:
    with opened(tmp_path / "run", config.load(None, settings(seeds)[1::2])):
        pass
    for command, message in (("train", "has no dataset"), ("evaluate", "there is nothing to evaluate on")):
        done = veridistill(command, "-d", tmp_path / "run")
        assert done.code == 2
        assert message in done.err


def test_options_stay_text(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    assert veridistill("init", file, "--model", "12", "--seeds", "[draft]: #1.jsonl").code == 0
    loaded = config.load(file)
    assert (loaded.model.path, loaded.seeds.path) == ("12", ("[draft]: #1.jsonl",))


# --- exit 5 -------------------------------------------------------------------------------------------------


def test_a_run_in_use(tmp_path: Path, seeds: Path) -> None:
    with opened(tmp_path / "run", config.load(None, settings(seeds)[1::2])):
        done = veridistill("build", "-d", tmp_path / "run")
    assert done.code == 5
    assert "in use by another process" in done.err


# --- resume and fork ----------------------------------------------------------------------------------------


def test_resume_and_fork(tmp_path: Path, seeds: Path) -> None:
    run, fork = tmp_path / "run", tmp_path / "fork"
    assert veridistill("build", "-d", run, *settings(seeds)).code == 0
    asked, chosen, stored = calls(run), kept(run), stored_config(run)
    assert 0 < len(chosen) <= 12

    for field in ("gate.width=7", "build.window=3", "engine.batch_size=2"):
        done = veridistill("build", "-d", run, "-o", field)
        assert (done.code, calls(run), kept(run)) == (0, asked, chosen)
    assert stored_config(run) != stored

    done = veridistill("build", "-d", run, "--v", "3", "-o", "generate.temperature=0.5")
    assert (done.code, calls(run), done.out) == (2, asked, "")
    assert done.err.endswith("--fork NEW:\n  generate.temperature: 0.8 -> 0.5\n  judge.votes: 2 -> 3\n")

    assert veridistill("build", "-d", run, "--v", "3", "--fork", fork).code == 0
    new = calls(fork)
    assert not new.keys() & asked.keys()
    assert 0 < len(new) < len(asked)
    assert calls(run) == asked
    assert veridistill("build", "-d", tmp_path / "fresh", *settings(seeds, "judge.votes=3")).code == 0
    assert kept(fork) == kept(tmp_path / "fresh")
    again = veridistill("build", "-d", fork)
    assert (again.code, calls(fork)) == (0, new)


# --- exit 3 and 4 -------------------------------------------------------------------------------------------


def test_a_budget_ends_a_run_that_goes_on(tmp_path: Path, seeds: Path) -> None:
    assert veridistill("build", "-d", tmp_path / "whole", *settings(seeds)).code == 0
    run, codes = tmp_path / "run", []
    while not codes or (codes[-1] == 3 and len(codes) < 20):
        done = veridistill("build", "-d", run, *settings(seeds, "limits.tokens=1500", "gate.width=2"))
        codes.append(done.code)
        if done.code == 3:
            assert "limits.tokens of 1500 reached" in done.err
            assert results(run)["status"] == "incomplete"
    assert len(codes) >= 3
    assert codes[-1] == 0
    assert kept(run) == kept(tmp_path / "whole")
    answered = {key for key, (status, _) in calls(tmp_path / "whole").items() if status == "ok"}
    assert len({key for key, (status, _) in calls(run).items() if status == "ok"}) <= 1.2 * len(answered)


@pytest.mark.parametrize("command", ["build", "run"])
def test_nothing_accepted(tmp_path: Path, seeds: Path, command: str) -> None:
    never = script(tmp_path, factuality=[0, 0])
    done = veridistill(command, "-d", tmp_path / "run", *settings(seeds, f"engine.script={never}"))
    assert (done.code, done.out) == (4, "")
    assert "quality.min_kept=1" in done.err
    data = results(tmp_path / "run")
    assert (data["status"], data["funnel"]["kept"], len(data["warnings"])) == ("below_quality", 0, 1)
    assert "What is 3 plus 21?" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "run" / "rounds" / "1" / "train").exists()
    assert not (tmp_path / "run" / "rounds" / "1" / "model").exists()


def test_too_many_invalid_votes(tmp_path: Path, seeds: Path) -> None:
    silent = script(tmp_path, invalid=0.9)
    done = veridistill(
        "build", "-d", tmp_path / "run", *settings(seeds, f"engine.script={silent}", "quality.min_kept=0")
    )
    assert done.code == 4
    assert "quality.max_invalid=0.5" in done.err


# --- what goes where ----------------------------------------------------------------------------------------


def test_stdout_is_data_and_stderr_is_progress(tmp_path: Path, seeds: Path) -> None:
    run = tmp_path / "run"
    built = veridistill("build", "-d", run, "--json", *settings(seeds))
    assert built.json == results(run)["funnel"]
    assert built.out.count("\n") == 1
    assert built.err.startswith("build: 12/12 questions (100\N{NO-BREAK SPACE}%)")
    status = veridistill("status", run, "--json")
    assert status.json["results"] == results(run)
    assert status.json["progress"]["state"] == "done"
    shown = veridistill("status", run)
    assert shown.out.startswith(f"{run}: incomplete\n  build: 12/12 questions (100\N{NO-BREAK SPACE}%), ")
    (run / "report.html").unlink()
    assert veridistill("report", run).out == f"{run / 'report.html'}\n"
    assert (run / "report.html").is_file()
    quiet = veridistill("build", "-d", run, "--quiet")
    assert quiet.err == f"dataset: {run / 'rounds' / '1' / 'dataset'}\n"
    assert not any("\x1b" in text for done in (built, status, shown, quiet) for text in (done.out, done.err))


def test_status_says_that_a_build_stopped_at_its_target(tmp_path: Path, seeds: Path) -> None:
    run = tmp_path / "run"
    assert veridistill("build", "-d", run, *settings(seeds, "build.target=2")).code == 0
    assert veridistill("status", run).out.endswith("\nstopped at its target of 2\n")
    assert veridistill("build", "-d", run, "-o", "build.target=null").code == 0
    assert "target" not in veridistill("status", run).out


def test_a_dry_run_builds_nothing(tmp_path: Path) -> None:
    seeds, run = questions(tmp_path, 60), tmp_path / "run"
    options = settings(seeds, "build.order=paper")
    estimate = veridistill("build", "--dry-run", "-d", run, "--json", *options).json
    assert (estimate["questions"], estimate["sampled_questions"]) == (60, 30)
    assert not (run / "rounds").exists()
    asked = calls(run)
    assert estimate["calls"] == pytest.approx(2 * len(asked), rel=0.2)
    assert veridistill("build", "-d", run).code == 0
    assert asked.items() <= calls(run).items()
    assert len(calls(run)) == pytest.approx(estimate["calls"], rel=0.25)


def test_init_writes_what_loads(tmp_path: Path, seeds: Path) -> None:
    file = tmp_path / "run.yaml"
    assert veridistill("init", file, "-o", "judge.votes=3", "--seeds", seeds).out == f"{file}\n"
    assert config.load(file) == config.load(None, ["judge.votes=3", f"seeds.path={seeds}"])
    again = veridistill("init", file)
    assert (again.code, again.out) == (2, "")
    assert "exists already" in again.err
    assert veridistill("init", tmp_path / "none" / "run.yaml").code == 2


def commands() -> Iterator[tuple[str, ...]]:
    yield ()
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        yield (name,)
        yield from ((name, inner) for inner in getattr(command, "commands", {}))


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help(command: tuple[str, ...]) -> None:
    done = veridistill(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.lstrip().startswith("Usage: ")


def test_the_installed_command() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "veridistill", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "0.1.0", "")


# --- signals ------------------------------------------------------------------------------------------------

PATIENCE = 300
"""Seconds after which a command that was told to stop counts as hung, also on a busy machine."""

TELLING = """
from veridistill import cli
from veridistill.engines.scripted import ScriptedEngine
generate = ScriptedEngine.generate
async def telling(self, *call):
    print("asked", flush=True)
    return await generate(self, *call)
ScriptedEngine.generate = telling
cli.main()
"""


@contextmanager
def started(*args: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process of its own, once it has asked its first call."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", TELLING, *map(str, args)]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n"
            yield process
        finally:
            process.kill()


def test_the_first_interrupt_drains(tmp_path: Path, seeds: Path) -> None:
    run, slow = tmp_path / "run", script(tmp_path, seconds_per_token=0.02, slots=4)
    with started("build", "-d", run, *settings(seeds, f"engine.script={slow}")) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stderr is not None
        # Not communicate(), which would miss what readline() has read ahead.
        out, err = process.stdout.read(), process.stderr.read()
        process.wait(PATIENCE)
    assert process.returncode == 130
    assert "waiting for the running calls" in err
    assert "Traceback" not in err
    journalled = calls(run)
    assert len(journalled) == 1 + out.count("asked")
    assert {status for status, _ in journalled.values()} == {"ok"}
    assert results(run)["status"] == "incomplete"

    slow.write_text(json.dumps({"slots": 4}), encoding="utf-8")  # the same replies, sooner
    assert veridistill("build", "-d", run).code == 0
    assert journalled.items() <= calls(run).items()
    assert veridistill("build", "-d", tmp_path / "whole", *settings(seeds)).code == 0
    assert kept(run) == kept(tmp_path / "whole")


def test_the_second_interrupt_stops_at_once(tmp_path: Path, seeds: Path) -> None:
    run, endless = tmp_path / "run", script(tmp_path, seconds_per_token=1000, slots=4)
    with started("build", "-d", run, "-q", *settings(seeds, f"engine.script={endless}")) as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("waiting for the running calls")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert {status for status, _ in calls(run).values()} == {"cancelled"}


def test_a_termination_stops_at_once(tmp_path: Path, seeds: Path) -> None:
    run, endless = tmp_path / "run", script(tmp_path, seconds_per_token=1000, slots=4)
    with started("build", "-d", run, "-q", *settings(seeds, f"engine.script={endless}")) as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert err == "stopped; run the same command again to resume\n"
    assert results(run)["status"] == "incomplete"
    assert (run / "report.html").is_file()


@pytest.mark.parametrize(("options", "shown"), [((), False), (("-W", "default"), True)])
def test_a_user_sees_no_deprecation_of_a_library(options: tuple[str, ...], shown: bool) -> None:
    code = """
import sys, warnings
from veridistill import cli
sys.argv = ["veridistill", "--version"]
try:
    cli.main()
except SystemExit:
    warnings.warn("going away", FutureWarning)
"""
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)
    assert ("going away" in done.stderr) is shown
