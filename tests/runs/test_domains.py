"""One run that holds all three domains: each question with its own prompt and static check, and figures by domain; and
a build that never sees the answers beside its questions.
"""

import asyncio
import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import calls, kept, results, settings, veridistill
from tests.harness import distil_all, make_plan
from veridistill import prompts
from veridistill.data.tables import EXAMPLES, SEEDS
from veridistill.domains import DOMAINS
from veridistill.engines.scripted import ScriptedEngine
from veridistill.prompts import message
from veridistill.records import Messages, Sampling, Seed

NAMES = ("math", "science", "code")
MIXED = ["seeds.question={topic}: {text}", "seeds.domain=of", "seeds.options=options"]


def mixed(folder: Path, num: int = 24) -> Path:
    """As many questions of each domain; those of science have options."""
    path = folder / "mixed.jsonl"
    rows = [
        {
            "topic": f"Topic {n}",
            "text": f"What is {n} plus {7 * n}?",
            "of": NAMES[n % 3],
            "options": [str(8 * n), "none"] if n % 3 == 1 else None,
        }
        for n in range(num)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def build(folder: Path, *fields: str, name: str = "run") -> dict[str, Any]:
    done = veridistill("build", "-d", folder / name, *settings(mixed(folder), *MIXED, *fields))
    assert done.code == 0, done.err
    return results(folder / name)


def seeds_of(run: Path) -> dict[str, Seed]:
    return {seed.seed_id: seed for seed in SEEDS.read(run / "rounds" / "1" / "tables" / "seeds.parquet")}


def test_each_question_is_asked_and_trained_with_the_prompt_of_its_domain(tmp_path: Path) -> None:
    build(tmp_path)
    seeds, used = seeds_of(tmp_path / "run"), prompts.load("compact")
    assert [seed.domain for seed in seeds.values()] == [NAMES[n % 3] for n in range(24)]
    examples = list(EXAMPLES.read(tmp_path / "run" / "rounds" / "1" / "dataset" / "examples.parquet"))
    assert {seeds[one.seed_id].domain for one in examples} == set(NAMES)
    for one in examples:
        seed = seeds[one.seed_id]
        assert one.messages[:-1] == message(DOMAINS[seed.domain].solve(used), question=seed.question)
        assert ("\n\nA. " in seed.question) is (seed.domain == "science")
    templates = {DOMAINS[name].solve(used) for name in NAMES}
    assert len(templates) == 3


def test_the_static_check_is_that_of_the_domain(tmp_path: Path) -> None:
    """A boxed answer is one in math and science, and none in code; a fenced block the reverse."""

    def reply(messages: Messages, sampling: Sampling, seed: int) -> str:
        return "It is \\boxed{7}." if "box" in messages[-1].content else "[[Y]]"

    def fenced(messages: Messages, sampling: Sampling, seed: int) -> str:
        return "So:\n```python\nprint(7)\n```"

    seeds = [Seed(name, f"What is {name}?", name) for name in DOMAINS]
    for number, (answer, formed) in enumerate(((reply, {"math", "science"}), (fenced, {"code"}))):
        found, _ = asyncio.run(
            distil_all(ScriptedEngine(answer), tmp_path / str(number), make_plan(1, 1), seeds)
        )
        malformed = {d.seed.domain for d in found if d.judged[0].verdict.outcome == "malformed"}
        assert malformed == set(DOMAINS) - formed


def test_figures_by_domain_add_up_to_those_of_the_build(tmp_path: Path) -> None:
    data = build(tmp_path)
    domains = data["domains"]
    assert list(domains) == ["math", "science", "code"]
    assert data["rounds"][0]["domains"] == domains
    for key in ("seeds", "candidates", "well_formed", "kept"):
        assert sum(one["funnel"][key] for one in domains.values()) == data["funnel"][key]
    for key, value in data["outcomes"].items():
        assert sum(one["outcomes"][key] for one in domains.values()) == value
    assert sum(one["questions_kept"] for one in domains.values()) == data["rounds"][0]["questions_kept"]
    assert {name: one["funnel"]["seeds"] for name, one in domains.items()} == dict.fromkeys(NAMES, 8)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "By domain" in page
    assert '<th scope="row">science</th><td>8</td>' in page


def test_the_report_of_one_domain_has_no_table_of_domains(tmp_path: Path) -> None:
    done = veridistill("build", "-d", tmp_path / "run", *settings(mixed(tmp_path), "seeds.question=text"))
    assert done.code == 0
    assert list(results(tmp_path / "run")["domains"]) == ["math"]
    assert "By domain" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_canary_is_the_answer_to_a_question_of_the_same_domain(tmp_path: Path) -> None:
    # Each question in words of its own: an answer is swapped only with that of a question on another subject.
    path = mixed(tmp_path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for n, row in enumerate(rows):
        row["text"] = " ".join(chr(97 + n) + word for word in ("ever", "oat", "umble", "ine", "ood", "earn"))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields = ["seeds.question=text", "seeds.domain=of", "build.canary_share=1"]
    assert veridistill("build", "-d", tmp_path / "run", *settings(path, *fields)).code == 0
    seeds = seeds_of(tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / "journal.sqlite")) as journal:
        paths = [
            json.loads(path) for (path,) in journal.execute("SELECT path FROM replies WHERE role = 'solve'")
        ]
    swapped = [path for path in paths if path[1] == -1]
    assert swapped
    assert all(seeds[own].domain == seeds[other].domain for own, _, other in swapped)


def test_a_run_of_several_domains_is_resumed_forked_sharded_merged_and_ablated(tmp_path: Path) -> None:
    fields = ["build.asks=exhaustive", "build.order=paper", "build.canary_share=0.5"]
    whole = build(tmp_path, *fields)
    asked = calls(tmp_path / "run")
    assert veridistill("build", "-d", tmp_path / "run").code == 0
    assert calls(tmp_path / "run") == asked, "a resume asks nothing twice"
    # With fewer votes more is accepted, of which near misses would be made.
    fork = ["-o", "judge.votes=1", "-o", "build.canary_share=0", "--fork", str(tmp_path / "fork")]
    assert veridistill("build", "-d", tmp_path / "run", *fork).code == 0
    assert not calls(tmp_path / "fork")
    for part in (1, 2):
        done = build(tmp_path, *fields, f"seeds.shard={part}/2", name=f"part{part}")
        assert done["funnel"]["seeds"] < 24
    done = veridistill("merge", tmp_path / "part1", tmp_path / "part2", "--out", tmp_path / "merged")
    assert done.code == 0, done.err
    before = calls(tmp_path / "merged")
    assert veridistill("build", "-d", tmp_path / "merged").code == 0
    assert calls(tmp_path / "merged") == before == asked
    assert results(tmp_path / "merged")["domains"] == whole["domains"]
    done = veridistill("ablate", tmp_path / "run", "--out", tmp_path / "cells", "--n", "3", "--votes", "2")
    assert done.code == 0, done.err
    cells = json.loads((tmp_path / "cells" / "ablation.json").read_text(encoding="utf-8"))["cells"]
    shapes = {(c["candidates"], c["votes"], c["selection"], len(c["stages"])): c["kept"] for c in cells}
    assert shapes[3, 2, "first", 3] == len(kept(tmp_path / "run"))


def test_a_dry_run_of_several_domains(tmp_path: Path) -> None:
    done = veridistill(
        "build", "-d", tmp_path / "run", "--dry-run", "--json", *settings(mixed(tmp_path), *MIXED)
    )
    assert done.code == 0, done.err
    assert done.json["questions"] == 24


def test_a_wrong_domain_ends_before_any_call(tmp_path: Path) -> None:
    path = mixed(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace('"science"', '"maths"', 1), encoding="utf-8")
    done = veridistill("build", "-d", tmp_path / "run", *settings(path, *MIXED))
    assert done.code == 2
    assert f"{path}:2: of must be math, science or code (found 'maths')" in done.err
    assert not (tmp_path / "run").exists()


def test_a_single_question_needs_a_domain_and_no_column() -> None:
    options = ["--model", "any", "-o", "engine.kind=scripted"]
    done = veridistill("solve", "What is 2 plus 14?", *options, "-o", "seeds.domain=of")
    assert done.code == 2
    assert "seeds.domain=of names no domain" in done.err
    assert veridistill("solve", "What is 2 plus 14?", *options, "--domain", "science").code == 0


# --- answers ------------------------------------------------------------------------------------------------


def answered(path: Path, answers: list[Any]) -> Path:
    """Questions with answers beside them, in the format that the suffix names."""
    rows = [
        {"question": f"What is {n} plus {7 * n}?", "answer": one, "id": n} for n, one in enumerate(answers)
    ]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["question", "answer", "id"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_answers_beside_the_questions_change_nothing(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that a build leaves is the same, byte for byte, but for times."""
    left = []
    for name, answers in (("right", [8 * n for n in range(12)]), ("wrong", [n - 99 for n in range(12)])):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        answered(Path(f"q.{suffix}"), answers)
        fields = settings(Path(f"q.{suffix}"), "seeds.id=id", "build.order=paper", "build.canary_share=0.3")
        assert veridistill("build", "-d", "run", *fields).code == 0
        left.append(contents(folder / "run"))
    assert left[0] == left[1]
    assert {"config.yaml", "results.json", "rounds/1/dataset/examples.parquet"} <= left[0].keys()


def contents(run: Path) -> dict[str, Any]:
    """The files of a run by name; of the journal what was asked and answered, of the rest the bytes."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if name == "results.json":
            data = json.loads(path.read_text(encoding="utf-8"))
            found[name] = {key: value for key, value in data.items() if key != "seconds"}
        elif name == "journal.sqlite":
            found[name] = calls(run)
        elif path.is_file() and path.suffix in (".parquet", ".jsonl", ".yaml"):
            found[name] = path.read_bytes()
    return found
