"""Runs to look at, written by the project's own tables and journal, and a viewer of one in this process."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from starlette.testclient import TestClient

from veridistill.calls.journal import Entry, Journal
from veridistill.config import load
from veridistill.data import tables
from veridistill.data.rundir import RunDir, opened, write_json
from veridistill.records import (
    Attempt,
    Candidate,
    Completion,
    Problem,
    Request,
    Sampling,
    Seed,
    Verdict,
    Vote,
)
from veridistill.view.guard import Guard, Keys
from veridistill.view.indexing import Indexer
from veridistill.view.site import Site

MODEL = "model-1"
NO_SAMPLING = Sampling(0, 0, 0, 0)


def entry(unit: str, role: str, path: Sequence[str | int], text: str, model: str = MODEL) -> Entry:
    key = Request(0, model, role, tuple(path), (), NO_SAMPLING).key
    return Entry(unit, model, key, "ok", role, tuple(path), Completion(text, "stop", 10, 20))


def journal(run: RunDir, entries: Sequence[Entry]) -> None:
    async def written() -> None:
        store = Journal(run.journal)
        for one in entries:
            await store.append(one)
        await store.close()

    asyncio.run(written())


def question(number: int, domain: Any = "math") -> Seed:
    return Seed(
        f"q{number}",
        f"Question {number}: how many apples are in basket{number}?",
        domain,
        f"seeds.jsonl:{number}",
    )


def judged(seed: Seed, index: int, text: str, ends: str | None) -> tuple[Candidate, Verdict]:
    """A candidate that the stage `ends` rejected, or that was accepted."""
    votes = []
    for stage in ("factuality", "correctness"):
        votes.append(Vote(stage, 0, "no" if stage == ends else "yes"))
        if stage == ends:
            break
    answer = text.rpartition("</think>")[2]
    candidate = Candidate(seed.seed_id, index, answer, Completion(text, "stop", 10, 20))
    outcome: Any = "rejected" if ends else "accepted"
    return candidate, Verdict(seed.seed_id, index, outcome, ends, tuple(votes))


def write_round(
    run: RunDir, number: int, questions: Sequence[tuple[Seed, Sequence[tuple[Candidate, Verdict]]]]
) -> None:
    folder = run.round(number)
    tables.SEEDS.write(folder.tables / "seeds.parquet", [seed for seed, _ in questions])
    rows = [tables.CandidateRow.of(c, v, v.passed) for _, found in questions for c, v in found]
    tables.CANDIDATES.write(folder.tables / "candidates.parquet", rows)
    votes = [vote for _, found in questions for _, v in found for vote in tables.VoteRow.of(v)]
    tables.VOTES.write(folder.tables / "votes.parquet", votes)
    tables.EXAMPLES.write(folder.examples, [])


def replies(found: Sequence[tuple[Candidate, Verdict]], model: str = MODEL) -> list[Entry]:
    entries = []
    for candidate, verdict in found:
        unit = candidate.seed_id
        entries.append(entry(unit, "solve", (unit, candidate.index), candidate.completion.text, model))
        for vote in verdict.votes:
            said = f"Looked at candidate {candidate.index}.\n{'[[Y]]' if vote.passed else '[[N]]'}"
            path = (unit, candidate.index, vote.stage, vote.index, 0)
            entries.append(entry(unit, vote.stage, path, said, model))
    return entries


def write_exam(run: RunDir, number: int = 1) -> None:
    """Three problems: won, lost, and as before."""
    folder = run.round(number).tables
    problems = [Problem(f"p{n}", "quiz", "integer", f"Problem {n} about pears", "7") for n in range(3)]
    tables.PROBLEMS.write(folder / "problems.parquet", problems)
    right = {"base": (0, 2, 1), "after": (2, 1, 1)}
    for which, scores in right.items():
        rows = [
            Attempt(
                f"p{n}",
                "quiz",
                k,
                "7",
                "pass" if k < score else "wrong",
                response=f"<think>t</think>{which} pear{n}",
            )
            for n, score in enumerate(scores)
            for k in range(2)
        ]
        tables.ATTEMPTS.write(folder / f"exam_{which}.parquet", rows)


def results(run: RunDir, *models: str) -> None:
    rounds = [{"model": model, "judge": {"model": model, "reasons": False}} for model in models]
    write_json(run.results, {"status": "complete", "rounds": rounds})


def make(path: Path, num: int = 130) -> RunDir:
    """One round of `num` questions, with a journal and an exam.

    The first candidate of each is rejected by factuality (every 10th) or correctness; the second is accepted, unless
    the number is divisible by 5.
    """
    with opened(
        path, load(None, ["model=any", "judge.stages=[factuality,correctness]", "judge.votes=1"])
    ) as run:
        found = []
        for number in range(num):
            seed = question(number, "science" if number % 3 == 0 else "math")
            first = judged(
                seed, 0, f"<think>idle</think>It is {number}.", "correctness" if number % 10 else "factuality"
            )
            second = judged(
                seed, 1, f"So it is needle{number} in all.", None if number % 5 else "correctness"
            )
            found.append((seed, [first, second]))
        write_round(run, 1, found)
        journal(run, [one for _, judgements in found for one in replies(judgements)])
        write_exam(run)
        results(run, MODEL)
        return run


class Viewer:
    """A viewer's site with its guard, and a browser's part: a client that keeps cookies."""

    def __init__(self, run: RunDir, port: int = 4321) -> None:
        self.run, self.keys, self.indexer = run, Keys(port), Indexer(run)
        self.indexer.update()
        app = Guard(Site(run, self.keys, self.indexer).application(), self.keys)
        self.stranger = TestClient(app, base_url=f"http://127.0.0.1:{port}", follow_redirects=False)
        self.client = TestClient(app, base_url=f"http://127.0.0.1:{port}")
        self.client.get(self.keys.address)

    def page(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.text

    def label(self, seed_id: str, candidate: int, word: str, **more: Any) -> httpx.Response:
        return label(self.client, self.keys.form, seed_id, candidate, word, **more)


def label(
    client: httpx.Client, key: str, seed_id: str, candidate: int, word: str, number: int = 1, **headers: str
) -> httpx.Response:
    form = {
        "key": key,
        "round": number,
        "id": quote(seed_id),
        "candidate": candidate,
        "word": word,
        "from": "queue",
    }
    given = {"origin": str(client.base_url).rstrip("/"), **headers}
    return client.post("/label", data=form, headers=given, follow_redirects=False)


def shown(page: str, what: str = "question") -> list[str]:
    """The entries that a list links to, in order."""
    return re.findall(rf'href="/\d+/{what}\?[^"]*?id=([^"&]+)"', page)


def labels(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]


@contextmanager
def viewer(run: RunDir) -> Iterator[Viewer]:
    found = Viewer(run)
    with found.client, found.stranger:
        yield found
