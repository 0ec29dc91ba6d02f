"""Configuration: identity or runtime, files and overrides, and errors that say what to do."""

import json
from pathlib import Path
from typing import Any, get_origin

import pytest
import yaml
from pydantic import ValidationError

from veridistill.config import (
    ALIASES,
    Config,
    ModelSection,
    Section,
    dump,
    fields,
    identity_differences,
    load,
    parse,
    reference,
    template,
)
from veridistill.errors import ConfigError

ROOT = Path(__file__).parent.parent


def lists(section: type[Section] = Config, prefix: str = "") -> list[str]:
    """Every field that holds a list, except those of another engine or model inside a section."""
    found = []
    for name, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            found += lists(info.annotation, f"{prefix}{name}.")
        elif get_origin(info.annotation) is tuple:
            found.append(prefix + name)
    return found


def test_every_field_is_identity_or_runtime() -> None:
    kinds = dict(fields())
    assert set(kinds.values()) == {"identity", "runtime"}
    assert kinds["judge.votes"] == "identity"
    assert kinds["build.order"] == "runtime"
    assert all(
        kinds[name] == "runtime"
        for name in kinds
        if name.startswith(("engine.", "gate.", "journal.", "limits.")) and name != "engine.script"
    )
    assert kinds["engine.script"] == "identity", "it stands for a model"
    assert all(
        kinds[name] == "identity"
        for name in kinds
        if name.startswith(("model.", "generate.", "judge.", "seeds.")) and name != "judge.engine"
    )


def test_a_section_without_fields_of_its_own_is_no_leaf() -> None:
    assert not {name for name, _ in fields()} & {"judge", "model", "train"}


@pytest.mark.parametrize("name", ALIASES.values())
def test_aliases_name_fields(name: str) -> None:
    assert name in dict(fields())


def test_the_papers_defaults() -> None:
    config = Config()
    assert (config.generate.candidates, config.judge.votes) == (8, 5)
    assert (config.generate.temperature, config.judge.temperature, config.evaluation.temperature) == (
        0.8,
        0.6,
        0.7,
    )
    assert {s.top_p for s in (config.generate, config.judge, config.evaluation)} == {0.95}
    assert {s.sampling.max_tokens for s in (config.generate, config.judge, config.evaluation)} == {32768}


# --- loading ------------------------------------------------------------------------------------------------

OVERRIDES: list[tuple[list[str], dict[str, Any]]] = [
    (["judge.votes=3"], {"judge": {"votes": 3}}),
    (["judge.votes=3", "judge.votes=4"], {"judge": {"votes": 4}}),
    ([" judge.votes = 3"], {"judge": {"votes": 3}}),
    (["generate.top_p=0.9"], {"generate": {"top_p": 0.9}}),
    (["train.learning_rate=3e-4"], {"train": {"learning_rate": 0.0003}}),
    (["seeds.limit=1e3"], {"seeds": {"limit": 1000}}),
    (["judge.stages=[simple]"], {"judge": {"stages": ["simple"]}}),
    (["judge={votes: 2, max_reasks: 0}"], {"judge": {"votes": 2, "max_reasks": 0}}),
    (["model=some/model"], {"model": {"path": "some/model"}}),
    (["model=some/model", "model.dtype=float16"], {"model": {"path": "some/model", "dtype": "float16"}}),
    (["model.dtype=float16", "model=some/model"], {"model": {"path": "some/model", "dtype": "float16"}}),
    (["evaluation.problems=null"], {"evaluation": {"problems": None}}),
    (["evaluation.benchmarks="], {"evaluation": {"benchmarks": ()}}),
    (["evaluation.benchmarks=null"], {"evaluation": {"benchmarks": ()}}),
    (['evaluation.benchmarks=""'], {"evaluation": {"benchmarks": ()}}),
    (["engine.urls="], {"engine": {"urls": ()}}),
    (["seeds.path=a=b.jsonl"], {"seeds": {"path": "a=b.jsonl"}}),
    (["engine.seeded=false"], {"engine": {"seeded": False}}),
    (["engine.seeded=no"], {"engine": {"seeded": False}}),
    (["build.speculation=off"], {"build": {"speculation": "off"}}),
    # text keeps its text
    (["model.revision=12e4567"], {"model": {"revision": "12e4567"}}),
    (["model.revision=0123"], {"model": {"revision": "0123"}}),
    (["model.revision=1_000"], {"model": {"revision": "1_000"}}),
    (["model.revision=1.10"], {"model": {"revision": "1.10"}}),
    (["model.revision=0x1F"], {"model": {"revision": "0x1F"}}),
    (["model.revision=2026-05-20"], {"model": {"revision": "2026-05-20"}}),
    (["model.revision=no"], {"model": {"revision": "no"}}),
    (["model.revision=true"], {"model": {"revision": "true"}}),
    (["model.revision=null"], {"model": {"revision": None}}),
    (["model.revision=~"], {"model": {"revision": None}}),
    (["model.revision="], {"model": {"revision": None}}),
    (['model.revision="null"'], {"model": {"revision": "null"}}),
    (["model.revision='a''b'"], {"model": {"revision": "a'b"}}),
    (["seeds.path=12"], {"seeds": {"path": "12"}}),
    (
        ["evaluation.problems=my file: a, [b] #2.jsonl"],
        {"evaluation": {"problems": "my file: a, [b] #2.jsonl"}},
    ),
    (["seeds.path=*.jsonl, data/[ab] #2.csv"], {"seeds": {"path": ("*.jsonl", "data/[ab] #2.csv")}}),
    (["seeds.path=[a.jsonl, '*.csv', 'b, c.csv']"], {"seeds": {"path": ("a.jsonl", "*.csv", "b, c.csv")}}),
    (["seeds.question={text} {tests[0]}"], {"seeds": {"question": "{text} {tests[0]}"}}),
    (['seeds.question="{text}\\n{tests[0]}"'], {"seeds": {"question": "{text}\n{tests[0]}"}}),
    (["model=12e4567"], {"model": {"path": "12e4567"}}),
    (["model={path: 007, revision: 12e4567}"], {"model": {"path": "007", "revision": "12e4567"}}),
    (["judge.model=12e4567"], {"judge": {"model": {"path": "12e4567"}}}),
    (["judge.model={path: 7, revision: 1e5}"], {"judge": {"model": {"path": "7", "revision": "1e5"}}}),
    (["judge.model.revision=1e5"], {"judge": {"model": {"revision": "1e5"}}}),
    (["judge.model=null"], {"judge": {"model": None}}),
    # numbers are numbers
    (["train.learning_rate=3E-5"], {"train": {"learning_rate": 0.00003}}),
    (["train={learning_rate: 3e-5}"], {"train": {"learning_rate": 0.00003}}),
    (["train.max_steps=1_000", "train.epochs=null"], {"train": {"max_steps": 1000}}),
    (["train.max_steps=0123"], {"train": {"max_steps": 123}}),
    (["engine.actor_resources={node1: 1e-3}"], {"engine": {"actor_resources": {"node1": 0.001}}}),
    # every list takes a, a,b and YAML
    (["build.extra_stages=simple"], {"build": {"extra_stages": ["simple"]}}),
    (["judge.stages=simple, factuality"], {"judge": {"stages": ["simple", "factuality"]}}),
    (["engine.urls=http://a:1/v1,http://b:2/v1"], {"engine": {"urls": ["http://a:1/v1", "http://b:2/v1"]}}),
    (["seeds.decontaminate=[1.10, no]"], {"seeds": {"decontaminate": ["1.10", "no"]}}),
    (["seeds.path=['a, b.jsonl']"], {"seeds": {"path": ("a, b.jsonl",)}}),
    (['seeds.path=["a, b.jsonl", c]'], {"seeds": {"path": ("a, b.jsonl", "c")}}),
    (['seeds.path="a, b.jsonl"'], {"seeds": {"path": ("a", "b.jsonl")}}),
    (["seeds.path=a, b.jsonl"], {"seeds": {"path": ("a", "b.jsonl")}}),
    (["seeds.path=[ab].csv"], {"seeds": {"path": ("[ab].csv",)}}),
    (["seeds.path=[a]x,y[b]"], {"seeds": {"path": ("[a]x", "y[b]")}}),
    (["seeds.path=[draft]: #1.jsonl"], {"seeds": {"path": ("[draft]: #1.jsonl",)}}),
    (
        ["judge.engine={kind: endpoint, urls: 'http://a/v1,http://b/v1'}"],
        {"judge": {"engine": {"kind": "endpoint", "urls": ["http://a/v1", "http://b/v1"]}}},
    ),
    (
        ["engine={kind: endpoint, urls: http://a/v1}"],
        {"engine": {"kind": "endpoint", "urls": ["http://a/v1"]}},
    ),
    # an empty section is one of defaults
    (["judge="], {}),
    (["train=null", "engine=~"], {}),
]


FILE = """\
model: {path: 007, revision: 12e4567}
seeds: {path: no}
judge:
  stages: simple
  model: 1e5
train: {learning_rate: 3e-5, epochs: 1e1}
build: {speculation: off, extra_stages: "factuality, simple"}
engine:
  seeded: no
  address:
"""


def test_a_file_is_read_by_the_type_of_each_field(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(FILE, encoding="utf-8")
    config = load(path)
    assert (config.model.path, config.model.revision, config.seeds.path) == ("007", "12e4567", ("no",))
    assert (config.judge.stages, config.judge.model) == (("simple",), ModelSection(path="1e5"))
    assert (config.train.learning_rate, config.train.epochs) == (0.00003, 10)
    assert (config.build.speculation, config.build.extra_stages) == ("off", ("factuality", "simple"))
    assert (config.engine.seeded, config.engine.address) == (False, None)
    path.write_text(dump(config), encoding="utf-8")
    assert load(path) == config
    path.write_text("generate: &a {top_p: 0.5}\njudge: {<<: *a, votes: 2}\n", encoding="utf-8")
    assert (load(path).judge.votes, load(path).judge.top_p) == (2, 0.5)


@pytest.mark.parametrize("name", lists())
@pytest.mark.parametrize("text", ["{0}", "{0},{1}", "{0}, {1}", "[{0}, {1}]", "[{0},{1}]", "'{0},{1}'"])
def test_every_list_takes_words_and_yaml(tmp_path: Path, name: str, text: str) -> None:
    values, (section, field), file = ["simple", "factuality"], name.split("."), tmp_path / "run.yaml"
    expected = values if "1" in text else values[:1]
    file.write_text(f"{section}:\n  {field}: {text.format(*values)}\n", encoding="utf-8")
    option = json.dumps(text.format(*values).strip("'"))  # as an option of its own passes its text on
    for loaded in (
        load(None, [f"{name}={text.format(*values)}"]),
        load(file),
        load(None, [f"{name}={option}"]),
        parse({section: {field: values if "1" in text else values[0]}}),
    ):
        assert list(getattr(getattr(loaded, section), field)) == expected


@pytest.mark.parametrize(("overrides", "data"), OVERRIDES, ids=str)
def test_overrides(overrides: list[str], data: dict[str, Any]) -> None:
    assert load(None, overrides) == parse(data)


def test_one_override_leaves_its_siblings_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("judge: {votes: 2}\nmodel: base\nseed: 7\n", encoding="utf-8")
    config = load(path, ["judge.temperature=0.1", "model.dtype=float32"])
    assert (config.judge.votes, config.judge.temperature, config.judge.top_p) == (2, 0.1, 0.95)
    assert (config.model.path, config.model.dtype, config.seed) == ("base", "float32", 7)
    assert load(path, ["model=other"]).model.path == "other"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    assert load(path) == Config()


def test_dump_and_template_load_as_what_they_show(tmp_path: Path) -> None:
    config = load(
        None, ["model.path=解.bin", "judge.stages=[simple, factuality]", "train.epochs=4", "limits.hours=0.5"]
    )
    path = tmp_path / "run.yaml"
    path.write_text(dump(config), encoding="utf-8")
    assert load(path) == config
    assert set(yaml.safe_load(dump(config))["judge"]) == set(type(config.judge).model_fields)
    path.write_text(template(["judge.votes=3", "seeds.path=my questions.jsonl"]), encoding="utf-8")
    assert load(path) == load(None, ["judge.votes=3", "seeds.path=my questions.jsonl"])
    assert "  votes: 3  # identity, votes per stage" in template(["judge.votes=3"])


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().judge.votes = 3  # type: ignore[misc]


# --- errors -------------------------------------------------------------------------------------------------

WRONG = [
    ("judge.votes=0", r"judge.votes: .* greater than or equal to 1 \(found 0\)"),
    ("generate.candidates=-1", r"generate.candidates: .*\(found -1\)"),
    ("evaluation.samples=0", "evaluation.samples: "),
    ("judge.votes=many", r"judge.votes: .*integer.*\(found 'many'\)"),
    ("judge.votes=2.5", "judge.votes: .*integer"),
    ("judge.votes=null", "judge.votes: .*integer"),
    ("judge.votes=[3]", "judge.votes: .*integer"),
    ("seeds.path=null", r"seeds.path: must name a file, a pattern"),
    ("seeds.path=a.jsonl,", r"seeds.path: must name a file, a pattern"),
    ("seeds.path=a.jsonl,lab", "seeds.path: the lab's questions stand alone"),
    ("seeds={question: {text: 1}}", "seeds.question: a template must be in quotes"),
    ("judge.votes=12e4567", "judge.votes: .*finite"),
    ("seeds.domain=null", "seeds.domain: "),
    ("judge.stages=[]", "judge.stages: "),
    (
        "judge.stages=[truth]",
        "judge.stages.0: .*'cycle_consistency', 'factuality', 'correctness' or 'simple'",
    ),
    ("judge.stages=[simple, simple]", "judge: stages must differ"),
    ("build.order=random", r"build.order: .*'cheapest' or 'paper' \(found 'random'\)"),
    ("build.selection=best", "build.selection: "),
    ("build.audit_share=2", "build.audit_share: "),
    ("generate.temperature=.nan", "generate.temperature: "),
    ("train.learning_rate=inf", "train.learning_rate: .*finite"),
    ("train.learning_rate=.inf", "train.learning_rate: .*number"),
    ("judge.votes.=3", "must be key=value"),
    ("generate.top_p=0", "generate.top_p: "),
    ("engine.kind=vlm", "engine.kind: "),
    ("judge=3", r"judge: .*\(found '3'\)"),
    ("judge.votes.x=3", "judge.votes: "),
    ("train={max_steps: 1, epochs: 1}", "max_steps and epochs cannot both be set"),
    ("judge.vots=3", "unknown key judge.vots; did you mean judge.votes?"),
    ("vots=3", "unknown key vots; did you mean judge.votes?"),
    ("temprature=1", "unknown key temprature; did you mean .*temperature"),
    ("jugde.votes=3", "unknown key jugde; did you mean judge?"),
    ("xyzzy=1", "unknown key xyzzy; choose one of build, cost, engine"),
    ("judge.votes", "must be key=value"),
    ("=3", "must be key=value"),
    ("judge.stages=[", "the value is not YAML"),
]


@pytest.mark.parametrize(("override", "match"), WRONG)
def test_wrong_overrides(override: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load(None, [override])


def test_all_faults_are_told_at_once_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("judge: {votes: 0, stagse: []}\nseed: x\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).split("\n") == [
        f"{path}:2: seed: must be a valid integer, unable to parse string as an integer (found 'x')",
        f"{path}:1: judge.votes: must be greater than or equal to 1 (found 0)",
        f"{path}:1: unknown key judge.stagse; did you mean judge.stages?",
    ]


def test_a_fault_is_told_where_its_value_was_set(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "judge:\n  votes: 0\n  stages: [simple,\n    truth]\nmodel:\n  dtype: int8\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError) as caught:
        load(path, ["judge.votes=-1", "model.lora=1", "seeds.limit=0"])
    places = [line.partition(": ")[::2] for line in str(caught.value).split("\n")]
    assert [(place, fault.partition(":")[0]) for place, fault in places] == [
        (f"{path}:6", "model.dtype"),
        ("-o seeds.limit=0", "seeds.limit"),
        (f"{path}:4", "judge.stages.1"),
        ("-o judge.votes=-1", "judge.votes"),
    ]
    path.write_text("judge:\n  stages: [simple, simple]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^{path}:1: judge: stages must differ"):
        load(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"judge: [", "not YAML"),
        (b"judge: {votes: 3}}\n", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"- judge\n", "must be a mapping of sections; found a list"),
        (b"judge\n", "must be a mapping of sections; found 'judge'"),
        (b"judge: !!python/object:os.system {}\n", "not YAML"),
        (b"7: 8\n", "run.yaml:1: unknown key 7"),
        (b"judge: {votes: 3}\nseed: 1\njudge: {top_p: 1}\n", "the key judge comes twice"),
        (b"? [a, b]\n: 1\n", "not YAML"),
        (b"[" * 5000, "not YAML"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=match):
        load(path)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / name)


# --- identity -----------------------------------------------------------------------------------------------


def test_differences_tell_identity_fields_alone() -> None:
    old, new = (
        load(None, ["judge.votes=2"]),
        load(None, ["seed=3", "gate.width=4", "build.order=paper", "limits.hours=1"]),
    )
    assert identity_differences(old, new) == ["seed: 0 -> 3", "judge.votes: 2 -> 5"]
    assert identity_differences(new, new) == []


def test_the_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == reference(), "python -m veridistill.config > docs/configuration.md"


def test_the_reference_names_every_field() -> None:
    lines = reference().split("\n")
    for name, kind in fields():
        rows = [line for line in lines if line.startswith(f"| `{name.rpartition('.')[2]}` ")]
        assert any(f"| {kind} |" in row for row in rows), name
    assert "| `rounds` | `1` | integer ≥ 1 | runtime |" in reference()


@pytest.mark.parametrize("text", ["a.jsonl,aime26", "[a.jsonl, aime26]", "a.jsonl, aime26"])
def test_names_may_be_written_with_commas(text: str) -> None:
    assert load(None, [f"seeds.decontaminate={text}"]).seeds.decontaminate == ("a.jsonl", "aime26")
    assert load(None, ["evaluation.benchmarks=aime26"]).evaluation.benchmarks == ("aime26",)
