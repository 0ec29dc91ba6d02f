"""One question answered by the cascade: the lines as it goes on, the verdicts, and what a program reads."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from tests.harness import make_plan
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal
from veridistill.config import BuildSection
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.method import Solved
from veridistill.records import Sampling
from veridistill.runs import solve as solving

LAZY = BuildSection(audit_share=0, speculation="off", order="paper")


def at_terminal(journal: Path, script: Script, lines: list[str]) -> Solved:
    async def run() -> Solved:
        store = Journal(journal)
        try:
            asker = Asker(ScriptedEngine(script), store, Gate(8, "off"), LAZY, run_seed=0)
            plan = replace(make_plan(2, 2), sampling=Sampling(0.8, 0.95, 0, 256))
            return await solving.answer("What is 2 plus 2?", "math", plan, asker, lines.append)
        finally:
            await store.close()

    return asyncio.run(run())


def test_a_question_at_a_terminal_shows_every_verdict_as_it_comes(tmp_path: Path) -> None:
    sure = Script(well_formed=1, right=1, compare=(1, 1), factuality=(1, 1), correctness=(1, 1), invalid=0)
    lines: list[str] = []
    solved = at_terminal(tmp_path / "j.sqlite", sure, lines)
    assert lines[0].startswith("candidate 0: sampled, ")
    assert lines[1:3] == [
        "candidate 0: cycle consistency, vote 0: yes",
        "candidate 0: cycle consistency, vote 1: yes",
    ]
    assert lines[-1] == "candidate 0: accepted"
    assert len(lines) == 1 + 6 + 1
    text = solving.render(solved)
    assert "candidate 0: accepted\n  cycle consistency  Y Y\n  factuality         Y Y" in text
    assert text.endswith(solved.answer.answer)
    assert "the first that its own author accepts" in text
    data = solving.summary(solved)
    assert (data["candidate"], data["valid"], len(data["candidates"][0]["votes"])) == (0, True, 6)
    assert json.loads(json.dumps(data)) == data


def test_an_answer_that_nobody_accepted_says_so(tmp_path: Path) -> None:
    unsure = Script(well_formed=1, compare=(1, 1), factuality=(0, 0), invalid=0)
    text = solving.render(at_terminal(tmp_path / "j.sqlite", unsure, []))
    assert "candidate 1: rejected (factuality)\n  cycle consistency  Y Y\n  factuality         N" in text
    assert "answer: candidate 0, NOT VERIFIED" in text
