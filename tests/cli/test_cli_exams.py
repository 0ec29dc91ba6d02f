"""The commands of evaluation as a user types them: benchmarks, choices, test time, one question, judge audits."""

import io
import json
from pathlib import Path

import pytest

from tests.commands import calls, kept, questions, results, script, settings, veridistill
from veridistill.data import tables
from veridistill.engines.scripted import right_answer

ENGINE = ("-o", "engine.kind=scripted", "-o", "model.reasoning=none", "-o", "prompts=compact")


def aime(folder: Path) -> Path:
    """A local copy of a benchmark, with its format and number of records; the questions are ours."""
    data = folder / "data"
    data.mkdir()
    asked = [f"What is {i} plus {7 * i}?" for i in range(30)]
    lines = [{"id": str(i), "problem": q, "answer": str(right_answer(q))} for i, q in enumerate(asked)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (data / "aime26.jsonl").write_text(text, encoding="utf-8")
    return data


def own(folder: Path) -> Path:
    path = folder / "own.jsonl"
    lines = [
        {
            "id": "c",
            "kind": "choice",
            "question": "Which is even?",
            "choices": ["3", "4", "5"],
            "answer": "B",
        },
        {"id": "m", "kind": "math", "question": "What is 1 plus 7?", "answer": "8"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_benchmarks_by_name_and_own_problems_in_one_exam(tmp_path: Path) -> None:
    done = veridistill(
        "evaluate", "--model", "any", "--benchmarks", "aime26", "--problems", own(tmp_path), "--k", "2",
        "--data", aime(tmp_path), "--out", tmp_path / "exam", "--json", *ENGINE,
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)["base"]
    assert found["num_problems"] == 32
    assert {name: one["num_problems"] for name, one in found["benchmarks"].items()} == {
        "own": 2,
        "aime26": 30,
    }
    folder = tmp_path / "exam" / "rounds" / "1" / "tables"
    problems = {p.problem_id: p for p in tables.PROBLEMS.read(folder / "problems.parquet")}
    assert problems["c"].options == ("3", "4", "5")
    attempts = list(tables.ATTEMPTS.read(folder / "exam_base.parquet"))
    assert len(attempts) == 64
    assert all(attempt.response for attempt in attempts)
    page = (tmp_path / "exam" / "report.html").read_text(encoding="utf-8")
    assert "By benchmark" in page
    again = veridistill("evaluate", "--out", tmp_path / "exam")
    assert "aime26: pass@1" in again.out
    assert results(tmp_path / "exam")["calls"]["total"] == 64


def test_an_exam_is_graded_again_without_a_call(tmp_path: Path) -> None:
    options = ("--benchmarks", "aime26", "--data", aime(tmp_path), "--k", "2")
    assert veridistill("evaluate", "--model", "any", "--out", tmp_path / "exam", *options, *ENGINE).code == 0
    table = tmp_path / "exam" / "rounds" / "1" / "tables" / "exam_base.parquet"
    done = veridistill("grade", table)
    assert done.code == 0, done.err
    again = [json.loads(line)["outcome"] for line in done.out.splitlines()]
    assert again == [attempt.outcome for attempt in tables.ATTEMPTS.read(table)]
    assert {"pass", "wrong"} <= set(again)
    file = tmp_path / "responses.jsonl"
    lines = [
        {"id": 1, "kind": "math", "reference": "\\frac12", "response": "<think>x</think>So \\boxed{0.5}."},
        {"id": 2, "kind": "choice", "reference": "B", "response": "It is a dog.\nAnswer: C"},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    graded = [json.loads(line) for line in veridistill("grade", file).out.splitlines()]
    assert [(one["id"], one["outcome"]) for one in graded] == [(1, "pass"), (2, "wrong")]


def test_shards_are_merged_and_the_merged_run_asks_nothing(tmp_path: Path) -> None:
    seeds = questions(tmp_path, 30)
    runs = [tmp_path / f"part{part}" for part in (1, 2)]
    for part, run in enumerate(runs, 1):
        fields = settings(seeds, f"seeds.shard={part}/2")
        assert veridistill("build", "--out", run, "-q", *fields).code == 0
    done = veridistill("merge", *runs, "--out", tmp_path / "all", "--json")
    assert (done.code, json.loads(done.out)["missing"]) == (0, [])
    asked = calls(tmp_path / "all")
    assert veridistill("build", "--out", tmp_path / "all", "-q").code == 0
    assert calls(tmp_path / "all") == asked
    assert kept(tmp_path / "all") == kept(runs[0]) | kept(runs[1])


def test_canaries_are_the_same_in_shards_and_in_the_merged_run(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    words = [
        f"{chr(97 + i % 26) * 4}{i} {chr(98 + i % 25) * 5}{i} {chr(99 + i % 24) * 6}{i}" for i in range(30)
    ]
    seeds.write_text("".join(json.dumps({"question": f"{text}?"}) + "\n" for text in words), encoding="utf-8")
    fields = settings(seeds, "build.canary_share=0.6")
    for part in (1, 2):
        shard = ("-o", f"seeds.shard={part}/2")
        assert veridistill("build", "--out", tmp_path / str(part), "-q", *fields, *shard).code == 0
    assert veridistill("merge", tmp_path / "1", tmp_path / "2", "--out", tmp_path / "all").code == 0
    asked = calls(tmp_path / "all")
    assert veridistill("build", "--out", tmp_path / "all", "-q").code == 0
    assert results(tmp_path / "all")["canaries"]["kinds"]["swapped"]
    assert calls(tmp_path / "all") == asked


def test_what_cannot_be_had_or_graded_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    code = tmp_path / "code.jsonl"
    tests = {"kind": "stdin", "entry": None, "cases": [{"input": "1\n", "output": "2\n"}]}
    line = {"id": "p", "kind": "code", "question": "Add one.", "tests": tests}
    code.write_text(json.dumps(line) + "\n", encoding="utf-8")
    for number, (options, message) in enumerate(
        (
            (("--benchmarks", "aime62"), "did you mean aime26"),
            (("--benchmarks", "aime26", "--data", tmp_path / "none"), "aime26"),
            (("--problems", code), "--allow-code-execution"),
            (("--benchmarks", "aime26", "--preset", "loose"), "paper"),
        )
    ):
        done = veridistill("evaluate", "--model", "any", "--out", tmp_path / str(number), *options, *ENGINE)
        assert (done.code, done.out) == (2, ""), done.err
        assert message in done.err
        assert not (tmp_path / str(number) / "journal.sqlite").exists()


@pytest.mark.parametrize(("asks", "methods"), [("lazy", 2), ("exhaustive", 4)])
def test_the_cascade_at_test_time_beside_its_baselines(tmp_path: Path, asks: str, methods: int) -> None:
    done = veridistill(
        "evaluate", "--model", "any", "--benchmarks", "aime26", "--k", "1", "--ttc", "--data", aime(tmp_path),
        "--out", tmp_path / "exam", "-o", f"build.asks={asks}", "-o", "build.audit_share=0", *ENGINE,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "uq_ttc" in done.out
    found = results(tmp_path / "exam")["ttc"]["base"]
    assert len(found["methods"]) == methods
    uq, first = found["methods"]["uq_ttc"], found["methods"]["candidate_0"]
    assert uq["accuracy"] > first["accuracy"]
    assert first["calls"] == 30 < uq["calls"] <= 30 * 168
    attempts = list(tables.ATTEMPTS.read(tmp_path / "exam" / "rounds" / "1" / "tables" / "ttc_base.parquet"))
    assert 100 * sum(a.outcome == "pass" for a in attempts) / 30 == pytest.approx(uq["accuracy"])


def test_one_question_is_answered_with_its_verdicts_shown() -> None:
    done = veridistill("solve", "What is 2 plus 14?", "--model", "any", "--n", "3", "--votes", "2", *ENGINE)
    assert done.code == 0, done.err
    assert "candidate 0: sampled" in done.err
    assert "answer: candidate" in done.out
    found = json.loads(
        veridistill("solve", "What is 2 plus 14?", "--model", "any", "--json", "-q", *ENGINE).out
    )
    assert found["answer"]
    assert veridistill("solve", "  ", "--model", "any", *ENGINE).code == 2


def test_judges_are_measured_where_labels_say_what_is_right(tmp_path: Path) -> None:
    seeds = questions(tmp_path, 40)
    good = script(tmp_path, right=0.5)
    fields = settings(seeds, "build.asks=exhaustive", f"engine.script={good}", "prompts=compact")
    assert veridistill("build", "--out", tmp_path / "run", "-q", *fields).code == 0
    found = list(tables.SEEDS.read(tmp_path / "run" / "rounds" / "1" / "tables" / "seeds.parquet"))
    labels = tmp_path / "labels.jsonl"
    lines = [
        {"id": seed.seed_id, "kind": "integer", "reference": str(right_answer(seed.question))}
        for seed in found
    ]
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    done = veridistill("audit", tmp_path / "run", "--labels", labels)
    assert done.code == 0, done.err
    assert "cascade" in done.out
    data = json.loads(veridistill("audit", tmp_path / "run", "--labels", labels, "--json").out)
    assert 0.3 < data["share_right"]["rate"] < 0.7


def test_benchmarks_are_listed() -> None:
    assert "gpqa_diamond" in veridistill("benchmarks").out
    assert {entry["name"] for entry in json.loads(veridistill("benchmarks", "--json").out)} > {
        "aime26",
        "lcb_v6",
    }


def test_seeds_that_a_benchmark_has_are_left_out_and_listed(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    ours = (
        "A train of 120 wagons leaves the station of Altdorf at nine and carries 35 tonnes in each of them."
    )
    lines = [{"question": "What is 3 plus 21?"}, {"question": ours}]
    seeds.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    data = aime(tmp_path)
    fields = settings(seeds, "seeds.decontaminate=[aime26]", f"evaluation.data={data}")
    done = veridistill("build", "--out", tmp_path / "run", "-q", "--json", *fields)
    assert done.code == 0, done.err
    built = results(tmp_path / "run")["rounds"][0]
    assert (built["contaminated_seeds"], built["funnel"]["seeds"]) == (1, 1)
    overlap = json.loads((tmp_path / "run" / "overlaps.jsonl").read_text(encoding="utf-8"))
    assert (overlap["benchmark"], overlap["problem_id"], overlap["action"]) == ("aime26", "3", "dropped")


def test_results_tell_the_settings_of_the_last_command(tmp_path: Path) -> None:
    options = ("--benchmarks", "aime26", "--data", aime(tmp_path), "--k", "1", "--limit", "5")
    assert veridistill("evaluate", "--model", "any", "--out", tmp_path / "exam", *options, *ENGINE).code == 0
    again = veridistill("evaluate", "--out", tmp_path / "exam", "--ttc", "-o", "build.asks=exhaustive")
    assert again.code == 0, again.err
    found = results(tmp_path / "exam")
    assert found["config"]["build"]["asks"] == "exhaustive"
    assert len(found["ttc"]["base"]["methods"]) == 4
    other = veridistill("evaluate", "--out", tmp_path / "exam", "--k", "3")
    assert other.code == 2
    assert "its exam was sat with other settings" in other.err
    assert "--fork" not in other.err


def test_a_question_from_stdin_is_the_same_question(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without speculation, which votes are cast on a rejected candidate depends on no timing.
    options = ("--model", "any", "--json", "-q", *ENGINE, "-o", "build.speculation=off")
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 2 plus 14?\n"))
    piped = veridistill("solve", "-", *options)
    assert piped.out == veridistill("solve", "What is 2 plus 14?", *options).out


def test_an_exam_without_a_model_says_what_to_name(tmp_path: Path) -> None:
    done = veridistill("evaluate", "--problems", own(tmp_path), "--out", tmp_path / "new")
    assert done.code == 2
    assert "--model PATH" in done.err
