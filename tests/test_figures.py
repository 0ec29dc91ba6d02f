"""Figures in README and docs come from benchmarks/results, by `benchmarks/figures.py`."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "benchmarks" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")  # as a script finds the modules beside it
        spec.loader.exec_module(module)
    return module


def test_every_page_says_what_the_json_says(figures: ModuleType) -> None:
    for page in figures.PAGES:
        text = page.read_text(encoding="utf-8")
        assert figures.filled(text) == text, f"{page.name}: run python benchmarks/figures.py"


def test_every_block_is_shown_somewhere(figures: ModuleType) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in figures.PAGES)
    assert set(re.findall(r"<!-- figures: (\w+) -->", text)) == set(figures.BLOCKS)


def test_a_changed_figure_is_noticed(figures: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"\| (\d[\d,]+) \|", text)
    assert shown is not None
    assert figures.filled(text.replace(shown[1], "1,234,567")) == text


def test_the_demonstration_was_run(figures: ModuleType) -> None:
    said = json.loads((figures.RESULTS / "demo.json").read_text(encoding="utf-8"))["summary"]
    assert re.match(r"pass@1 \d+\.\d -> \d+\.\d: gain", said)


def test_a_table_has_a_rule_for_each_column(figures: ModuleType) -> None:
    assert figures.table("name | > number", [("a", 1)]) == "| name | number |\n| --- | ---: |\n| a | 1 |\n"
