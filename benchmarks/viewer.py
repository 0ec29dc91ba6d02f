"""How long a page of the viewer takes, on a synthetic run of 100,000 questions.

    python benchmarks/viewer.py --json benchmarks/results/viewer.json             # about five minutes
    python benchmarks/viewer.py --questions 2000             # below a minute
    python benchmarks/viewer.py --keep DIR             # leave the run there, or use the run and the index there

The run is written by the project's own tables and journal: words of 50,000 by Zipf's law, two or three candidates for
a question, up to nine votes on each, and an exam of 2,000 problems. The server is a process of its own, asked over HTTP
by one client; a page's time is from the request to the last byte, beside it the processor time that the server had for
it, which a busy machine does not change. Each kind of page is asked for at 20 places.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np

from veridistill.calls.journal import Entry, Journal
from veridistill.config import load
from veridistill.data import tables
from veridistill.data.rundir import opened, write_json
from veridistill.records import (
    Attempt,
    Candidate,
    Completion,
    GradeOutcome,
    Problem,
    Request,
    Sampling,
    Seed,
    Verdict,
    Vote,
)

STAGES = ("cycle_consistency", "factuality", "correctness")
ROLES = dict(zip(STAGES, ("compare", "factuality", "correctness"), strict=True))
WORDS = 50_000
MODEL = "benchmark"
RARE, FREQUENT = "w40000", "w1"
LIMIT_MS = 300


class Prose:
    """Text of words `w1`, `w2` …, each about as frequent as its number is small."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        weights = 1 / np.arange(1, WORDS + 1)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._words = np.array([f"w{n}" for n in range(1, WORDS + 1)])

    def text(self, words: int) -> str:
        return " ".join(self._words[np.searchsorted(self._cumulative, self._random.random(words))])

    def number(self, below: int) -> int:
        return int(self._random.integers(below))


def judged(prose: Prose, seed: Seed, index: int, reasoning: str) -> tuple[Candidate, Verdict]:
    answer = f"{prose.text(120)} so \\boxed{{{prose.number(1000)}}}"
    text = f"<think>{reasoning}</think>{answer}"
    reply = Completion(text, "stop", 100, 500)
    ends = prose.number(14)
    votes = tuple(
        Vote(stage, vote, "no" if 3 * place + vote == ends else "yes")
        for place, stage in enumerate(STAGES)
        for vote in range(3)
        if 3 * place + vote <= ends
    )
    by = votes[-1].stage if ends < 9 else None
    candidate = Candidate(seed.seed_id, index, answer, reply)
    return candidate, Verdict(seed.seed_id, index, "rejected" if by else "accepted", by, votes)


def entries(candidate: Candidate, verdict: Verdict) -> Iterator[Entry]:
    def entry(role: str, path: tuple[str | int, ...], reply: Completion) -> Entry:
        key = Request(0, MODEL, role, path, (), Sampling(0, 0, 0, 0)).key
        return Entry(candidate.seed_id, MODEL, key, "ok", role, path, reply)

    yield entry("solve", (candidate.seed_id, candidate.index), candidate.completion)
    for vote in verdict.votes:
        path = (candidate.seed_id, candidate.index, vote.stage, vote.index, 0)
        mark = "[[Y]]" if vote.passed else "[[N]]"
        yield entry(ROLES[vote.stage], path, Completion(f"I checked each step.\n{mark}", "stop", 300, 40))


async def make(path: Path, questions: int) -> None:
    """A run as a build and two exams would leave it."""
    prose = Prose(1)
    reasonings = [prose.text(300) for _ in range(500)]
    with opened(path, load(None, ["model=benchmark"])) as run, ExitStack() as stack:
        folder = run.round(1)
        seeds, candidates, votes = (
            stack.enter_context(table.writer(folder.tables / f"{table.name}.parquet"))
            for table in (tables.SEEDS, tables.CANDIDATES, tables.VOTES)
        )
        journal, waiting = Journal(run.journal), list[Any]()
        for number in range(questions):
            seed = Seed(
                f"q{number}", prose.text(30), ("math", "science", "code")[number % 3], f"questions:{number}"
            )
            seeds.add(seed)
            for index in range(2 + number % 2):
                candidate, verdict = judged(prose, seed, index, reasonings[prose.number(500)])
                kept = verdict.passed
                candidates.add(tables.CandidateRow.of(candidate, verdict, kept))
                for vote in tables.VoteRow.of(verdict):
                    votes.add(vote)
                waiting += [journal.append(entry) for entry in entries(candidate, verdict)]
                if kept:
                    break
            if len(waiting) > 10_000:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)
        await journal.close()
        tables.EXAMPLES.write(folder.examples, [])
        exam(folder.tables, prose, min(2_000, questions))
        judge = {"model": MODEL, "reasons": False}
        write_json(run.results, {"status": "complete", "rounds": [{"model": MODEL, "judge": judge}]})


def exam(folder: Path, prose: Prose, num: int) -> None:
    def grade() -> GradeOutcome:
        return "pass" if prose.number(2) else "wrong"

    problems = [Problem(f"p{n}", f"exam{n % 4}", "math", prose.text(30), "1", "math") for n in range(num)]
    tables.PROBLEMS.write(folder / "problems.parquet", problems)
    for which in ("base", "after"):
        tables.ATTEMPTS.write(
            folder / f"exam_{which}.parquet",
            (
                Attempt(one.problem_id, one.benchmark, k, "1", grade(), response=prose.text(200))
                for one in problems
                for k in range(4)
            ),
        )


def pages(questions: int) -> dict[str, list[str]]:
    """Addresses by the kind of page that they are of."""
    places = [questions * part // 20 for part in range(20)]

    def asked(kind: str, **parameters: str | int) -> list[str]:
        return [
            f"/1/{kind}?{urlencode(parameters | ({'after': place} if place else {}))}" for place in places
        ]

    return {
        "list": asked("questions"),
        "filter: outcome": asked("questions", outcome="rejected"),
        "filter: outcome, stage, domain, kept": asked(
            "questions", outcome="rejected", by="correctness", domain="code", kept="yes"
        ),
        "search: a rare word": asked("questions", q=RARE),
        "search: a frequent word": asked("questions", q=FREQUENT),
        "search: a prefix of 2": asked("questions", q="w4*"),
        "search: a prefix of 5": asked("questions", q="w4000*"),
        "search: a phrase": asked("questions", q='"w1 w2 w3"'),
        "search: a phrase that is nowhere": asked("questions", q='"w1 w40000 w1"'),
        "search: frequent words and filters": asked(
            "questions", q="w1 w2", outcome="rejected", by="correctness", domain="code", kept="yes"
        ),
        "question": [f"/1/question?id=q{max(0, place - 1)}" for place in places],
        "question within a search": [f"/1/question?{urlencode({'id': f'q{p}', 'q': 'w1'})}" for p in places],
        "exam": asked("exam", flip="lost"),
        "exam: search": asked("exam", q="w7"),
        "problem": [f"/1/problem?id=exam{n % 4}/p{n}" for n in range(20)],
        "what to label next": ["/1/label"] * 20,
    }  # fmt: skip


class Server:
    """`veridistill view` in a process of its own, and a client that has its cookie."""

    def __init__(self, run: Path) -> None:
        command = [sys.executable, "-m", "veridistill", "view", str(run), "--no-open"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        address = self.process.stdout.readline().strip()
        self.client = httpx.Client(base_url=address.split("/?")[0], timeout=60, follow_redirects=True)
        self.client.get(address)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def milliseconds(self, path: str) -> float:
        start = time.perf_counter()
        answer = self.client.get(path)
        answer.raise_for_status()
        return 1000 * (time.perf_counter() - start)

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far, to the hundredth."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def indexed(run: Path, server: Server) -> dict[str, float]:
    """Wait for the indexes; wall-clock and processor seconds, and their size in MB (2**20 bytes)."""
    start = time.perf_counter()
    while not all(map(complete, (f := list((run / "view").glob("*.sqlite"))))) or len(f) < 2:
        time.sleep(0.2)
    seconds = time.perf_counter() - start
    size = sum(os.path.getsize(path) for path in (run / "view").glob("*.sqlite*"))
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(server.cpu_seconds, 1),
        "megabytes": round(size / 2**20, 1),
    }


def complete(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        try:
            return bool(connection.execute("SELECT value FROM state WHERE name = 'complete'").fetchone())
        except sqlite3.Error:
            return False


def labels(run: Path, num: int) -> None:
    """As if the first candidates of the queue had been labelled."""
    (path,) = (run / "view").glob("1-questions-*.sqlite")
    lines = []
    with closing(sqlite3.connect(path)) as connection:
        for stratum in ("accepted", "rejected"):
            rows = connection.execute(
                "SELECT key, candidate FROM draws JOIN items USING (no) WHERE stratum = ? ORDER BY rank LIMIT ?",
                (stratum, num // 2),
            )
            lines += [{"id": key, "candidate": one, "correct": one % 2 == 0, "round": 1} for key, one in rows]
    (run / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def measure(run: Path, questions: int) -> dict[str, Any]:
    megabytes = round(sum(p.stat().st_size for p in run.rglob("*.parquet")) / 2**20, 1)
    built = run / "index.json"
    with Server(run) as server:
        if not built.is_file():
            built.write_text(json.dumps(indexed(run, server) | {"tables_megabytes": megabytes}))
        index = json.loads(built.read_text())
        labels(run, 500)
        found: dict[str, Any] = {}
        for kind, addresses in pages(questions).items():
            server.milliseconds(addresses[0])
            before = server.cpu_seconds
            times = [server.milliseconds(path) for path in addresses]
            cpu = 1000 * (server.cpu_seconds - before) / len(times)
            one = {"median_ms": statistics.median(times), "max_ms": max(times), "cpu_ms": cpu}
            found[kind] = {name: round(value, 1) for name, value in one.items()}
            print(f"{kind:40} " + " ".join(f"{value:8.1f}" for value in one.values()), flush=True)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]
    return {"index": index, "pages": found, "peak_megabytes": peak}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="directory of the run")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = given.keep or Path(temporary) / "run"
        if not (run / "results.json").is_file():
            asyncio.run(make(run, given.questions))
        print(f"{'page':40} {'median':>8} {'longest':>8} {'cpu':>8}  ms, {given.questions:,} questions")
        found = {"questions": given.questions, "cpus": os.cpu_count(), "python": platform.python_version()}
        found |= {"sqlite": sqlite3.sqlite_version} | measure(run, given.questions)
    slow = [kind for kind, one in found["pages"].items() if one["max_ms"] > LIMIT_MS]
    print(f"index: {found['index']}; peak memory {found['peak_megabytes']} MB")
    print(f"over {LIMIT_MS} ms: {', '.join(slow) or 'none'}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
