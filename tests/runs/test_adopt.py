"""A model from elsewhere: trained on what a build left by the programs that the docs show, taken back, and examined."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import veridistill as package
from tests.commands import results, veridistill
from veridistill.data.rundir import RunDir, stored_config
from veridistill.runs import push

LAB = Path(package.__file__).parent / "lab"
DOCS = Path(__file__).parents[2] / "docs" / "training.md"
FIELDS = {
    "seeds.limit": 6, "build.selection": "unfiltered", "evaluation.limit": 3, "evaluation.samples": 1,
    "build.audit_share": 0, "build.canary_share": 0, "quality.min_kept": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run of the lab's model in `runs/mine`, built without judges; read-only."""
    folder = tmp_path_factory.mktemp("adopted")
    options = [part for name, value in FIELDS.items() for part in ("-o", f"{name}={value}")]
    done = veridistill("build", "lab", "-q", "--out", folder / "runs" / "mine", *options)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def mine(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory's `runs/mine`."""
    shutil.copytree(workplace / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "mine"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The lab's model with other weights, in a directory of its own."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "elsewhere"
    shutil.copytree(LAB / "model", folder)
    weights = {name: weight * 1.01 for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


# --- the dataset ----------------------------------------------------------------------------------------------


def test_the_dataset_loads_and_has_the_same_ids_in_both_forms(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    from datasets import load_dataset

    files = mine / "rounds" / "1" / "dataset"

    def loaded(kind: str, name: str) -> Any:
        return load_dataset(kind, data_files=str(files / name), split="train", cache_dir=str(mine / "cache"))

    rows, examples, chats = (
        loaded("parquet", "train.parquet"),
        loaded("parquet", "examples.parquet"),
        loaded("json", "train.jsonl"),
    )
    assert len(rows) == len(examples) == len(chats) > 0
    for row, example, chat in zip(rows, examples, chats, strict=True):
        assert row["seed_id"] == example["seed_id"] == chat["seed_id"]
        assert row["input_ids"] == example["prompt_ids"] + example["completion_ids"]
        assert row["labels"] == [-100] * len(example["prompt_ids"]) + example["completion_ids"]
        assert [turn["role"] for turn in chat["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize("made", ["with-trl", "with-pytorch"])
def test_the_programs_of_the_docs_train_a_model_that_is_adopted(
    mine: Path, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(mine / "cache"))
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    program = next(block for block in blocks if made in block)
    assert 'base = "Qwen/Qwen3-0.6B"' in program
    exec(program.replace("Qwen/Qwen3-0.6B", str(LAB / "model")), {})
    done = veridistill("adopt", mine, made, "--json")
    assert done.code == 0, done.err
    assert done.json["round"] == 1


# --- adopting -------------------------------------------------------------------------------------------------


def test_the_run_goes_on_with_the_exam(mine: Path, elsewhere: Path) -> None:
    assert veridistill("adopt", mine, elsewhere).code == 0
    assert results(mine)["rounds"][0]["training"]["adopted"] == "elsewhere"
    done = veridistill("run", "-d", mine, "-q", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["status"] == "complete"
    assert found["rounds"][0]["training"]["adopted"] == "elsewhere", "it was not trained again"
    assert found["base"]["num_problems"] == found["after"]["num_problems"] == 3
    assert found["fingerprints"]["base"] != found["fingerprints"]["after"]
    said = " ".join((mine / "rounds" / "1" / "model" / "README.md").read_text().split())
    assert "fine-tuned outside of veridistill and adopted" in said
    assert "| all problems | 3 |" in said
    assert "optimizer steps" not in said
    again = veridistill("adopt", mine, elsewhere)
    assert again.code == 2
    assert "has a model already" in again.err


def change(name: str, **fields: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        data = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(data | fields))

    return edit


def fewer_tensors(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "norm" in name))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def more_tokens(folder: Path) -> None:
    data = json.loads((folder / "tokenizer.json").read_text())
    data["added_tokens"].append(
        {**data["added_tokens"][0], "id": len(data["model"]["vocab"]) + 90, "content": "<new>"}
    )
    (folder / "tokenizer.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (change("config.json", intermediate_size=64), "intermediate_size is 64"),
        (change("tokenizer_config.json", chat_template="{{ messages }}"), "chat template is not the base"),
        (change("generation_config.json", eos_token_id=[1]), "replies end with the tokens"),
        (more_tokens, "tokenizer has other tokens"),
        (fewer_tensors, "has the shape None"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"holds no \*\.safetensors"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"{" * 20),
            "cannot be read as safetensors",
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "is an adapter; merge it"),
    ],
    ids=["layers", "template", "end", "tokens", "tensors", "none", "torn", "adapter"],
)
def test_what_is_not_the_base_with_other_weights_is_refused(
    mine: Path, elsewhere: Path, edit: Callable[[Path], None], said: str
) -> None:
    for file in elsewhere.glob("chat_template.jinja"):
        file.unlink()
    edit(elsewhere)
    done = veridistill("adopt", mine, elsewhere)
    assert done.code == 2
    assert re.search(said, done.err), done.err
    assert not (mine / "rounds" / "1" / "model").exists()


def test_a_run_that_is_not_built(tmp_path: Path, mine: Path, elsewhere: Path) -> None:
    (mine / "rounds" / "1" / "dataset" / "examples.parquet").unlink()
    done = veridistill("adopt", mine, elsewhere)
    assert done.code == 2
    assert "has no dataset; run veridistill build first" in done.err


# --- publishing -----------------------------------------------------------------------------------------------


def test_a_dry_run_lists_the_files_and_the_card_of_a_model(mine: Path, elsewhere: Path) -> None:
    assert veridistill("adopt", mine, elsewhere).code == 0
    done = veridistill("push", mine, "me/model", "--dry-run", "--license", "apache-2.0", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["sent"] is False
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= set(found["files"])
    assert "training.json" not in found["files"]
    assert found["card"].startswith("---\nlicense: apache-2.0\n")
    assert str(mine) not in found["card"]
    plain = veridistill("push", mine, "me/model", "--dry-run")
    assert "model.safetensors" in plain.out
    assert "## How to reproduce" in plain.out
    assert "-o 'build.selection=\"unfiltered\"'" in plain.out


def test_an_unjudged_dataset_is_not_said_to_be_judged(mine: Path) -> None:
    found = push.plan(RunDir(mine, stored_config(mine)), "me/data", "dataset", "cc-by-4.0")
    words = " ".join(found.card.split())
    assert found.card.startswith("---\nlicense: cc-by-4.0\n")
    assert "kept without being judged" in words
    assert "No candidate was judged." in words
    for wrong in ("erified", "judge |", "votes", "accepted", "Before publishing"):
        assert wrong not in words.replace("elf-Verified Distillation", ""), wrong
    assert [name for name in found.files if name.endswith(".parquet")]


@pytest.mark.parametrize(
    ("options", "token", "said"),
    [
        (("me/model",), None, "HF_TOKEN is not set"),
        (("me/model",), "x", "--license is missing"),
        (("model", "--dry-run"), None, "must be OWNER/NAME"),
        (("me/model", "--dry-run"), None, "no round has a trained model"),
    ],
)
def test_what_cannot_be_pushed(
    mine: Path, options: tuple[str, ...], token: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    done = veridistill("push", mine, *options)
    assert done.code == 2
    assert said in done.err
