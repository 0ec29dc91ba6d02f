"""A run that is on: questions appear as the journal grows, and the run is neither held up nor changed by a reader."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.commands import questions, settings, veridistill
from tests.view import runs
from veridistill.config import load
from veridistill.data.rundir import RunDir, opened, stored_config
from veridistill.view import rounds

WRITER = """
import asyncio, sys
from pathlib import Path
from tests.view.runs import entry
from veridistill.calls.journal import Journal

async def main():
    store = Journal(Path(sys.argv[1]))
    print("open", flush=True)
    for line in sys.stdin:
        unit, candidate, ballot = line.split()
        index = int(candidate)
        await store.append(entry(unit, "solve", (unit, index), f"<think>t</think>Live answer{unit} is \\\\boxed{{4}}."))
        for stage in ("factuality", "correctness"):
            if ballot == "open" and stage == "correctness":
                break
            mark = "[[N]]" if ballot == stage else "[[Y]]"
            await store.append(entry(unit, stage, (unit, index, stage, 0, 0), f"Looked.\\n{mark}"))
            if ballot == stage:
                break
        print("written", flush=True)
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    seeds = tmp_path / "seeds.jsonl"
    lines = [json.dumps({"id": f"q{n}", "question": f"How many pears are in basket{n}?"}) for n in range(9)]
    seeds.write_text("\n".join(lines), encoding="utf-8")
    fields = ["model=any", "judge.stages=[factuality,correctness]", "judge.votes=1", "seeds.id=id"]
    with opened(tmp_path / "run", load(None, [*fields, f"seeds.path={seeds}"])) as found:
        return found


def test_a_writer_appends_while_the_viewer_reads(run: RunDir) -> None:
    """The writer is a process of its own, which keeps the journal open all the time."""
    command = [sys.executable, "-c", WRITER, str(run.journal)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def write(line: str) -> None:
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write(line + "\n")
            assert writer.stdout.readline() == "written\n"

        assert writer.stdout.readline() == "open\n"
        with runs.viewer(run) as viewer:
            assert "Nothing yet" in viewer.page("/1/questions")
            write("q5 0 factuality")
            viewer.indexer.update()
            assert runs.shown(viewer.page("/1/questions")) == ["q5"]
            write("q2 0 yes")
            write("q5 1 open")
            write("stranger 0 yes")
            viewer.indexer.update()
            page = viewer.page("/1/questions")
            assert runs.shown(page) == ["q2", "q5", "stranger"]  # in the order of the seeds
            assert "read from the journal" in page
            assert "still being judged" in page
            assert runs.shown(viewer.page("/1/questions?outcome=accepted")) == ["q2", "stranger"]
            assert runs.shown(viewer.page("/1/questions?outcome=open")) == ["q5"]
            assert runs.shown(viewer.page("/1/questions?q=basket5")) == ["q5"]
            assert runs.shown(viewer.page("/1/questions?q=answerq2")) == ["q2"]
            write("q5 1 yes")
            viewer.indexer.update()
            assert runs.shown(viewer.page("/1/questions?outcome=open")) == []
            assert runs.shown(viewer.page("/1/questions?outcome=accepted&q=pears")) == ["q2", "q5"]
            question = viewer.page("/1/question?id=q5")
            assert question.count("Looked.") == 3
            assert "rejected by factuality" in question
            assert viewer.label("q5", 1, "right").status_code == 303
        writer.stdin.close()
        assert writer.wait() == 0
    with closing(sqlite3.connect(run.journal)) as journal:
        assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert journal.execute("SELECT count(*) FROM replies").fetchone() == (13,)


def test_a_reader_in_the_middle_of_its_work_holds_no_writer_up(run: RunDir) -> None:
    """No lock of the run is taken, and no transaction of the journal stays open between two looks."""
    runs.journal(run, [runs.entry("q1", "solve", ("q1", 0), "one")])
    with runs.viewer(run), closing(sqlite3.connect(run.journal, timeout=0)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        # A checkpoint that truncates needs every reader to be gone.
        assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        with opened(run.path, run.config):
            pass


def test_a_build_goes_on_under_the_viewer_and_its_tables_take_over(tmp_path: Path) -> None:
    path, given = tmp_path / "run", settings(questions(tmp_path, 12))
    assert veridistill("build", "-d", path, *given, "-o", "limits.tokens=1500").code == 3
    run = RunDir(path, stored_config(path))
    with runs.viewer(run) as viewer:
        part = runs.shown(viewer.page("/1/questions"))
        assert len(part) > 0
        assert rounds.questions(run, 1).live
        live = {
            outcome: runs.shown(viewer.page(f"/1/questions?outcome={outcome}"))
            for outcome in ("accepted", "rejected")
        }
        assert veridistill("build", "-d", path, *given, "-o", "limits.tokens=1000000").code == 0
        viewer.indexer.update()
        assert not rounds.questions(run, 1).live
        assert len(runs.shown(viewer.page("/1/questions"))) == 12
        for outcome, before in live.items():  # what was certain before is so in the tables
            assert set(before) <= set(runs.shown(viewer.page(f"/1/questions?outcome={outcome}")))
        assert [name.name for name in (path / "view").glob("*-live.sqlite")] == []


def test_re_asks_and_follow_ups_are_shown_in_order(tmp_path: Path) -> None:
    with opened(tmp_path / "run", load(None, ["model=any"])) as run:
        seed = runs.question(1)
        found = [runs.judged(seed, 0, "Four.", None)]
        runs.write_round(run, 1, [(seed, found)])
        asked = (
            ("correctness", 0, "First reply, without a mark."), ("verdict", 0, "Still none."),
            ("reference", 0, "My own solution."), ("correctness", 1, "Second reply."), ("verdict", 1, "[[Y]]"),
        )  # fmt: skip
        entries = [runs.entry("q1", "solve", ("q1", 0), "Four.")]
        for role, reask, text in asked:
            who: str | int = "reference" if role == "reference" else 0
            entries.append(runs.entry("q1", role, ("q1", who, "correctness", 0, reask), text))
        runs.journal(run, entries)
        runs.results(run, runs.MODEL)
    with runs.viewer(run) as viewer:
        page = viewer.page("/1/question?id=q1")
    places = [page.index(text) for text in ("My own", "First reply", "Still none", "Second reply", "[[Y]]")]
    assert places == sorted(places)
    assert page.count("asked again (1)") == 2
    assert page.count("asked for the verdict alone") == 2
    assert "shared by the candidates" in page
