"""Labels: how they are written, that a kill loses none, what is drawn next, and what the audit makes of them."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.commands import questions, settings, veridistill
from tests.view import runs
from veridistill.audit import labels as audit_labels
from veridistill.data.rundir import RunDir, stored_config
from veridistill.data.tables import CANDIDATES
from veridistill.view import labelling, rounds, sample
from veridistill.view.index import reading
from veridistill.view.items import rank


def test_the_last_word_on_a_candidate_counts(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 6)
    with runs.viewer(run) as viewer:
        for seed_id, candidate, word in (
            ("q1", 0, "right"), ("q1", 1, "wrong"), ("q2", 0, "unsure"), ("q1", 0, "unsure"), ("q1", 0, "wrong"),
        ):  # fmt: skip
            answer = viewer.label(seed_id, candidate, word)
            assert (answer.status_code, answer.headers["location"]) == (303, "/1/label")
        assert [(one["id"], one["candidate"], one["correct"]) for one in runs.labels(run)] == [
            ("q1", 1, False), ("q2", 0, None), ("q1", 0, False),
        ]  # fmt: skip
        page = viewer.page("/1/question?id=q1")
        assert re.findall(r'value="(\w+)" class="\w+" data-key="\w"\s+aria-pressed="true"', page) == [
            "wrong",
            "wrong",
        ]
    assert audit_labels.load(run.path / "labels.jsonl").candidates == {("q1", 1): False, ("q1", 0): False}


@pytest.mark.parametrize(
    ("seed_id", "candidate", "word", "number", "status"),
    [("q9", 0, "right", 1, 404), ("q1", 7, "right", 1, 404), ("q1", 0, "maybe", 1, 400), ("q1", 0, "right", 3, 404)],
)  # fmt: skip
def test_a_label_of_nothing_is_not_written(
    tmp_path: Path, seed_id: str, candidate: int, word: str, number: int, status: int
) -> None:
    run = runs.make(tmp_path / "run", 3)
    with runs.viewer(run) as viewer:
        answer = runs.label(viewer.client, viewer.keys.form, seed_id, candidate, word, number)
        assert answer.status_code == status
        too_long = {"content-type": "application/x-www-form-urlencoded", "origin": "http://127.0.0.1:4321"}
        assert viewer.client.post("/label", content=b"a" * 20_000, headers=too_long).status_code == 413
    assert not (run.path / "labels.jsonl").exists()


def test_lines_of_a_person_stay(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    (tmp_path / "view").mkdir()
    by_hand = [
        '{"id": "q1", "kind": "integer", "answer": "4"}',
        "not json",
        '{"id": "q1", "candidate": 0, "correct": true}',
    ]
    path.write_text("\n".join(by_hand), encoding="utf-8")
    labelling.put(path, 1, "q1", 1, "right")
    assert path.read_text(encoding="utf-8").splitlines()[:3] == by_hand
    labelling.put(path, 1, "q1", 0, "wrong")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == by_hand[:2]
    assert [json.loads(line)["correct"] for line in lines[2:]] == [True, False]
    labelling.put(path, 2, "q1", 0, "unsure")
    labels = labelling.read(path)
    assert labelling.of_round(labels, 1) == {("q1", 1): True, ("q1", 0): False}
    assert labelling.of_round(labels, 2) == {("q1", 0): None}


def test_two_viewers_do_not_lose_each_others_labels(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 6)
    with runs.viewer(run) as one, runs.viewer(run) as other:
        one.label("q1", 0, "right")
        other.label("q2", 0, "right")
        one.label("q3", 0, "wrong")
    assert [label["id"] for label in runs.labels(run)] == ["q1", "q2", "q3"]


def test_a_label_that_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """Of a real server, killed at once after each third answer, and while one is being written."""
    run = runs.make(tmp_path / "run", 30)
    answered = []
    for start in range(0, 12, 3):
        command = [sys.executable, "-m", "veridistill", "view", str(run.path), "--no-open"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().strip()
                with httpx.Client(base_url=address.split("/?")[0], timeout=60) as client:
                    client.get(address)
                    while client.get("/1/questions?q=needle29").text.count("?q=needle29&amp;id=") != 1:
                        pass
                    key = re.search(r'name="key" value="([^"]+)"', client.get("/1/question?id=q1").text)
                    assert key is not None
                    for number in range(start, start + 3):
                        answer = runs.label(client, key[1], f"q{number}", 0, "right")
                        assert answer.status_code == 303
                        answered.append(f"q{number}")
            finally:
                server.send_signal(signal.SIGKILL)
        assert [label["id"] for label in runs.labels(run)] == answered
    assert len(audit_labels.load(run.path / "labels.jsonl").candidates) == 12


# --- what to label next -----------------------------------------------------------------------------------------


def drawn(run: RunDir, labels: dict[tuple[str, int], bool | None]) -> sample.Sample:
    with reading(run.path / "view" / rounds.questions(run, 1).index) as connection:
        return sample.sample(connection, labels)


def test_each_stratum_comes_in_the_order_of_a_hash(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 40)
    with runs.viewer(run):
        labels: dict[tuple[str, int], bool | None] = {}
        order: dict[str, list[tuple[str, int]]] = {"accepted": [], "rejected": []}
        turns = []
        while (following := drawn(run, labels).next) is not None:
            stratum, item, candidate = following
            order[stratum.stratum].append((item.key, candidate))
            turns.append(stratum.stratum)
            labels[item.key, candidate] = True
    for found in order.values():
        assert found == sorted(found, key=lambda one: rank(*one))
    rows = list(CANDIDATES.read(run.round(1).tables / "candidates.parquet"))
    for outcome, keys in order.items():
        assert set(keys) == {(row.seed_id, row.index) for row in rows if row.outcome == outcome}
    # Neither stratum runs ahead, and which one is next cannot be told from the one before.
    balance = [turns[:n].count("accepted") - turns[:n].count("rejected") for n in range(60)]
    assert max(map(abs, balance)) <= sample.AHEAD
    assert len({tuple(turns[n : n + 2]) for n in range(58)}) == 4


def test_only_labels_of_the_sample_count(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 40)
    with runs.viewer(run):
        labels: dict[tuple[str, int], bool | None] = {}
        for number in range(24):
            following = drawn(run, labels).next
            assert following is not None
            labels[following[1].key, following[2]] = None if number == 5 else number % 4 != 0
        found = drawn(run, labels)
        words = [word for word in labels.values() if word is not None]
        assert sum(one.right for one in found.strata) == sum(words)
        assert sum(one.wrong for one in found.strata) == len(words) - sum(words)
        assert sum(one.unsure for one in found.strata) == 1
        assert found.elsewhere == 0
        # The reader finds a wrong one by looking for it: that says nothing of the rest.
        beyond = {
            (row.seed_id, row.index): False
            for row in CANDIDATES.read(run.round(1).tables / "candidates.parquet")
            if (row.seed_id, row.index) not in labels
        }
        following = found.next
        assert following is not None
        beyond.pop((following[1].key, following[2]))
        other = following[0].stratum
        again = drawn(run, labels | beyond)
        assert again.of(other).share == found.of(other).share
        assert again.elsewhere > 0


def test_the_queue_hides_what_the_judges_said_until_it_is_asked_for(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 10)
    with runs.viewer(run) as viewer:
        page = viewer.page("/1/label")
        before = page.partition('<details class="verdict">')[0]
        assert "how many apples" in before
        assert 'class="fate' not in before
        assert "[[" not in before
        assert "not known yet" in page
        for _ in range(20):
            page = viewer.page("/1/label")
            found = re.search(
                r'name="id" value="([^"]+)"><input type="hidden" name="candidate" value="(\d+)"', page
            )
            if found is None:
                break
            viewer.label(found[1], int(found[2]), "right")
        assert "Every accepted and rejected candidate is labelled" in viewer.page("/1/label")
        assert "100.0 % [" in viewer.page("/1/label")


def test_the_audit_reads_what_the_viewer_wrote(tmp_path: Path) -> None:
    path = tmp_path / "run"
    exhaustive = settings(questions(tmp_path), "build.asks=exhaustive")
    assert veridistill("build", "-d", path, *exhaustive).code == 0
    run = RunDir(path, stored_config(path))
    rows = list(CANDIDATES.read(run.round(1).tables / "candidates.parquet"))
    judged = [row for row in rows if row.outcome in ("accepted", "rejected")]
    with runs.viewer(run) as viewer:
        for place, row in enumerate(judged):
            word = "unsure" if place == 0 else "right" if row.outcome == "accepted" else "wrong"
            assert viewer.label(row.seed_id, row.index, word).status_code == 303
    found = veridistill("audit", path, "--labels", path / "labels.jsonl", "--json")
    assert found.code == 0, found.err
    assert found.json["counts"]["candidates"] == len(judged) - 1
    cascade = next(one for one in found.json["judges"] if one["judge"] == "cascade" and one["votes"] == 2)
    assert cascade["precision"]["rate"] == 1
