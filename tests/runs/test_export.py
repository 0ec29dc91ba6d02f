"""Export: a folder that loads with Hugging Face datasets, JSON lines, and CSV that no spreadsheet runs."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import kept, questions, settings, veridistill
from tests.runs.test_pipeline import problems
from veridistill.data import tables
from veridistill.data.rundir import RunDir, stored_config
from veridistill.errors import ConfigError, Incomplete
from veridistill.records import Attempt
from veridistill.runs import export as exporting
from veridistill.runs.export import card, files, kinds
from veridistill.runs.export.files import guarded

ALL = ("examples", "candidates", "votes", "attempts")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built and examined run on 12 questions; read-only."""
    folder = tmp_path_factory.mktemp("exported")
    out = folder / "run"
    fields = [f"evaluation.problems={problems(folder)}", "evaluation.samples=2", "build.audit_share=0.5"]
    fields += ["build.canary_share=0.8"]
    for command in ("build", "evaluate"):
        done = veridistill(command, "-d", out, *settings(questions(folder), *fields))
        assert done.code == 0, done.err
    return out


def read(run: Path) -> RunDir:
    return RunDir(run, stored_config(run))


def front(folder: Path) -> Any:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


# --- for the Hub ----------------------------------------------------------------------------------------------


def test_the_folder_loads_as_a_dataset(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    from datasets import load_dataset

    out = tmp_path / "dataset"
    done = veridistill("export", run, out, "--what", ",".join(ALL), "--json")
    assert done.code == 0, done.err
    cache = str(tmp_path / "cache")
    examples = load_dataset(str(out), cache_dir=cache)["train"]
    assert {(row["seed_id"], row["candidate"]) for row in examples} == kept(run)
    assert all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in examples)
    assert all(row["question"] in row["messages"][0]["content"] for row in examples)
    for what in ALL:
        loaded = load_dataset(str(out), what, cache_dir=cache)["train"]
        stored = pq.read_table(out / "data" / f"{what}.parquet")
        assert loaded.num_rows == stored.num_rows == done.json["files"][what]["rows"] > 0
        assert loaded.column_names == stored.column_names


def test_the_metadata_names_every_file_and_leaves_the_licence_to_fill_in(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    assert veridistill("export", run, out, "--what", "candidates,votes").code == 0
    data = front(out)
    assert data["license"] == "unknown"
    assert data["configs"] == [
        {"config_name": "candidates", "data_files": "data/candidates.parquet", "default": True},
        {"config_name": "votes", "data_files": "data/votes.parquet"},
    ]
    assert data["size_categories"] == ["n<1K"]
    assert [one["config_name"] for one in data["dataset_info"]] == ["candidates", "votes"]
    assert {path.name for path in out.rglob("*") if path.is_file()} == {
        "README.md",
        "candidates.parquet",
        "votes.parquet",
    }


def test_the_card_says_how_it_was_made(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    assert veridistill("export", run, out, "--what", ",".join(ALL)).code == 0
    text = (out / "README.md").read_text(encoding="utf-8")
    words = " ".join(text.split())
    assert "the first accepted one was kept" in words
    assert "| votes per stage | 2 |" in text
    assert "| judge | the same model |" in text
    assert "| questions | 12 |" in text
    assert f"| kept | {len(kept(run))} |" in text
    assert "answers known to be bad (canaries)" in words
    assert "questions judged in full" in words
    assert "given, without answers, from: `questions.jsonl`" in words
    assert "The problems' texts and references are left out" in words
    for name in ALL:
        assert all(f"| `{column}` |" in text for column in kinds.TABLES[name].columns)
    assert str(run.parent) not in text


def test_every_exported_column_is_described() -> None:
    for what, table in kinds.TABLES.items():
        assert not table.columns.keys() - kinds.meanings(what).keys(), what


def test_rows_hold_no_folder_of_this_machine() -> None:
    assert kinds.public_source("/home/her/secret/a/q.jsonl:3") == "q.jsonl:3"
    assert kinds.public_source("hf://datasets/o/n/train.parquet:3") == "hf://datasets/o/n/train.parquet:3"


def test_the_card_names_a_local_model_by_its_last_part(tmp_path: Path) -> None:
    (tmp_path / "model-5").mkdir()
    assert card.public_name(str(tmp_path / "model-5")) == "model-5"
    assert card.public_name("owner/model") == "owner/model"


def test_a_round_whose_figures_were_lost_is_exported_without_them(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run, copy := tmp_path / "run")
    (copy / "results.json").unlink()
    exporting.export(read(copy), tmp_path / "out")
    assert "figures of round 1 are not known" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


# --- JSON lines and CSV ---------------------------------------------------------------------------------------


def test_json_lines_hold_what_the_tables_hold(run: Path, tmp_path: Path) -> None:
    exporting.export(read(run), tmp_path / "out", ["candidates", "examples"], "jsonl")
    lines = (tmp_path / "out" / "candidates.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    stored = list(tables.CANDIDATES.read(run / "rounds" / "1" / "tables" / "candidates.parquet"))
    assert [(row["seed_id"], row["index"], row["text"]) for row in rows] == [
        (one.seed_id, one.index, one.text) for one in stored
    ]
    example = json.loads((tmp_path / "out" / "examples.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert example["messages"][1]["role"] == "assistant"
    assert "prompt_ids" not in example


def test_csv_is_read_back_as_it_was(run: Path, tmp_path: Path) -> None:
    exporting.export(read(run), tmp_path / "out", ["candidates", "attempts"], "csv")
    text = (tmp_path / "out" / "candidates.csv").read_bytes().decode("utf-8")
    rows = list(csv.DictReader(text.splitlines(keepends=True), strict=True))
    stored = list(tables.CANDIDATES.read(run / "rounds" / "1" / "tables" / "candidates.parquet"))
    assert [(r["seed_id"], r["index"], r["kept"]) for r in rows] == [
        (one.seed_id, str(one.index), "true" if one.kept else "false") for one in stored
    ]
    assert [r["text"].removeprefix("'") for r in rows] == [one.text for one in stored]
    assert text.endswith("\r\n")


def written(folder: Path, attempts: list[Attempt]) -> str:
    rows = (kinds.AttemptOut.of("exam_base", one) for one in attempts)
    files.write(folder, kinds.TABLES["attempts"], rows, "csv")
    return (folder / "attempts.csv").read_bytes().decode("utf-8")


def test_a_cell_may_hold_anything(tmp_path: Path) -> None:
    odd = 'two\nlines, a "quote" and\r\n a \u2028 and \N{GREEK SMALL LETTER PI}'
    one = Attempt("p,1", "b", 0, None, "grader_error", odd)
    (row,) = csv.DictReader(written(tmp_path, [one]).splitlines(keepends=True), strict=True)
    # The reader joins lines of a quoted cell; splitlines cut at U+2028, which is no line end in CSV.
    assert row["error"] == odd
    assert (row["problem_id"], row["answer"], row["correct"]) == ("p,1", "", "")


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "-", "-3x"]
)
def test_a_text_that_looks_like_a_formula_is_none(text: str) -> None:
    assert guarded(text) == "'" + text


@pytest.mark.parametrize("text", ["-3", "+0.5", "-12.75", "x = 1", "3", "", "1-2"])
def test_numbers_and_other_texts_stay_as_they_are(text: str) -> None:
    assert guarded(text) == text


@given(st.text())
def test_the_guard_can_be_taken_off_again(text: str) -> None:
    assert guarded(text).removeprefix("'") == text


# --- never over another folder, never half ---------------------------------------------------------------------


@pytest.mark.parametrize("empty", [True, False])
def test_an_existing_directory_is_left_alone(run: Path, tmp_path: Path, empty: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if not empty:
        (out / "mine").write_text("mine")
    done = veridistill("export", run, out)
    assert done.code == 2
    assert "exists already" in done.err
    assert [path.name for path in out.iterdir()] == ([] if empty else ["mine"])


def test_an_error_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Iterator[Any]:
        yield from ()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kinds, "rows", full)
    with pytest.raises(OSError, match="No space"):
        exporting.export(read(run), tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_tables_that_change_meanwhile_are_not_exported(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = iter([[(1, 1)], [(2, 1)]])
    monkeypatch.setattr(exporting, "_stamps", lambda _: next(stamps))
    with pytest.raises(Incomplete, match="export again"):
        exporting.export(read(run), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# --- what there is to export ------------------------------------------------------------------------------------


def test_what_is_not_there_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="round 2 is not built to its end"):
        exporting.export(read(run), tmp_path / "out", number=2)
    done = veridistill("export", run, tmp_path / "out", "--what", "answers")
    assert (done.code, "choose among examples, candidates, votes, attempts" in done.err) == (2, True)
    built = tmp_path / "built"
    assert veridistill("build", "-d", built, *settings(questions(tmp_path))).code == 0
    with pytest.raises(ConfigError, match="round 1 has no exam"):
        exporting.export(read(built), tmp_path / "out", ["examples", "attempts"])
    assert not (tmp_path / "out").exists()


def test_a_shard_says_which_part_it_is_and_a_merged_run_is_built_first(tmp_path: Path) -> None:
    seeds = questions(tmp_path, 20)
    for part in (1, 2):
        out = tmp_path / str(part)
        assert veridistill("build", "-d", out, *settings(seeds, f"seeds.shard={part}/2")).code == 0
    exporting.export(read(tmp_path / "2"), tmp_path / "part")
    assert "shard 2/2" in (tmp_path / "part" / "README.md").read_text(encoding="utf-8")
    whole = tmp_path / "whole"
    assert veridistill("merge", tmp_path / "1", tmp_path / "2", "-d", whole).code == 0
    done = veridistill("export", whole, tmp_path / "out")
    assert done.code == 2
    assert f"veridistill build --out {whole}" in done.err
    assert veridistill("build", "-d", whole).code == 0
    assert veridistill("export", whole, tmp_path / "out").code == 0
    rows = pq.read_table(tmp_path / "out" / "data" / "examples.parquet", columns=["seed_id"]).num_rows
    assert rows == len(kept(whole)) == len(kept(tmp_path / "1")) + len(kept(tmp_path / "2"))
