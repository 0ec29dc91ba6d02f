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
    text = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    shown = re.search(r"\| (\d[\d,]+) \|", text)
    assert shown is not None
    assert figures.filled(text.replace(shown[1], "1,234,567")) == text


def test_the_demonstration_was_run(figures: ModuleType) -> None:
    said = json.loads((figures.RESULTS / "demo.json").read_text(encoding="utf-8"))["summary"]
    assert re.match(r"pass@1 \d+\.\d -> \d+\.\d: gain", said)


def test_a_table_has_a_rule_for_each_column(figures: ModuleType) -> None:
    assert figures.table("name | > number", [("a", 1)]) == "| name | number |\n| --- | ---: |\n| a | 1 |\n"


def luminance(colour: str) -> float:
    """Relative, as WCAG 2 defines it, of `#rrggbb`."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_plots_are_readable_on_light_and_dark_pages(figures: ModuleType) -> None:
    for colour in figures.plots.COLOURS:
        assert min(contrast(colour, page) for page in ("#ffffff", "#0d1117")) >= 3
    for name in figures.plots.FIGURES:
        svg = (ROOT / "docs" / "figures" / name).read_text(encoding="utf-8")
        used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg))
        assert used
        assert used <= set(figures.plots.COLOURS), f"{name}: run python benchmarks/figures.py"
        assert svg.count("<text") > 8


def test_plots_are_drawn_from_the_results(figures: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name, (file, plot) in figures.plots.FIGURES.items():
        plot(figures.result(file), tmp_path / name)
        drawn, kept = ((folder / name).read_text("utf-8") for folder in (tmp_path, ROOT / "docs" / "figures"))
        assert re.findall(r">([^<>\n]+)</text>", drawn) == re.findall(r">([^<>\n]+)</text>", kept)
