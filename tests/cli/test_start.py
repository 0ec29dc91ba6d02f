"""Commands before a run: presets, the configuration file that `init` writes, and the schema that it refers to."""

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
import yaml

from tests.commands import questions, veridistill
from veridistill import config
from veridistill.data.rundir import stored_config


def referred(file: Path) -> Path:
    """The schema that the first line names, as the YAML language server finds it."""
    line = file.read_text(encoding="utf-8").split("\n")[0]
    named = line.removeprefix("# yaml-language-server: $schema=")
    assert named not in (line, "")
    assert " " not in named
    if named.startswith("file:"):
        return Path(unquote(urlsplit(named).path))
    return file.parent / named


def test_init_lists_the_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = veridistill("init", "--list")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == list(config.presets())
    assert all(len(line) <= 80 for line in lines)
    assert not list(tmp_path.iterdir())


def test_init_writes_a_preset(tmp_path: Path) -> None:
    file, name = tmp_path / "run.yaml", "qwen3-0.6b-math-24gb"
    assert (
        veridistill("init", file, "--preset", name, "--seeds", "mine.jsonl", "-o", "judge.votes=3").code == 0
    )
    assert config.load(file) == config.load(
        config.preset_file(name), ["seeds.path=mine.jsonl", "judge.votes=3"]
    )
    assert f"#   veridistill run {file} " in file.read_text(encoding="utf-8")
    assert referred(file) == config.SCHEMA_FILE


@pytest.mark.parametrize("folder", ["conf", "my conf"])
@pytest.mark.parametrize("place", ["conf/schema.json", "editor files/schema.json"])
def test_init_writes_the_schema_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (folder, Path(place).parent):
        Path(name).mkdir(exist_ok=True)
    file = Path(folder) / "run.yaml"
    assert veridistill("init", file, "--schema", place).code == 0
    assert referred(file).resolve() == Path(place).resolve()
    schema = json.loads(Path(place).read_text(encoding="utf-8"))
    assert schema == veridistill("schema").json == config.schema()
    jsonschema.Draft7Validator(schema).validate(yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "qwen3-8b-math"], "there is no preset qwen3-8b-math; did you mean qwen3-8b-math-8gpu?"),
        (["--schema", "schema.yaml"], "--schema schema.yaml: must be a .json file"),
        (["--schema", "none/schema.json"], "none/schema.json: cannot be written"),
        (["--preset", "lab", "-o", "judge.vots=1"], "unknown key judge.vots"),
    ],
)
def test_init_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = veridistill("init", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_commands_take_a_preset_by_name(tmp_path: Path) -> None:
    """The model is the scripted engine's, every other setting the preset's."""
    run, name = tmp_path / "run", "qwen3-0.6b-math-24gb"
    seeds = questions(tmp_path, 2)
    fields = [f"seeds.path={seeds}", "engine.kind=scripted", "seeds.decontaminate=[]", "gate.width=8"]
    options = [part for field in fields for part in ("-o", field)]
    done = veridistill("build", name, "--out", run, *options)
    assert done.code in (0, 4), done.err
    assert stored_config(run) == config.load(config.preset_file(name), fields)
    near = veridistill("build", "qwen3-0.6b-math", "--out", tmp_path / "other")
    assert near.code == 2
    assert "neither a file nor a preset; did you mean qwen3-0.6b-math-1gpu or" in near.err
    assert not (tmp_path / "other").exists()
