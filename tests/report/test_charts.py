"""Figures of lines and bars: points lie where their values say, and the bars' parts add up."""

from xml.etree import ElementTree

import pytest

from veridistill.report import charts
from veridistill.report.charts import Line
from veridistill.report.svg import figures, ticks

SVG = "{http://www.w3.org/2000/svg}"


def test_lines_lie_on_common_axes() -> None:
    svg = charts.lines(
        "Loss", "step", [Line("a", "loss", ((0, 0.0), (10, 2.0))), Line("b", "rate", ((5, 1.0), (10, 1.0)))]
    )
    tree = ElementTree.fromstring(svg)
    points = [line.get("points") for line in tree.iter(f"{SVG}polyline")]
    assert points == ["0.00,100.00 100.00,0.00", "50.00,50.00 100.00,50.00"]
    words = [text.text for text in tree.iter(f"{SVG}text")]
    assert words == ["0", "2", "4", "6", "8", "10", "step", "0.0", "0.5", "1.0", "1.5", "2.0"]
    assert "a from 0 to 2, 2 points" in str(tree.get("aria-label"))


def test_nothing_to_draw_is_nothing_and_one_point_is_a_line() -> None:
    assert charts.lines("Loss", "step", [Line("a", "loss", ())]) == ""
    assert "0.00," in charts.lines("Loss", "step", [Line("a", "loss", ((3, 0.5),))])


def test_a_long_series_is_shown_by_means() -> None:
    thin = charts.thinned([(float(x), float(x % 2)) for x in range(10_000)])
    assert len(thin) == charts.MOST_POINTS
    assert thin[0] == (12.0, 12 / 25)
    assert charts.thinned([(1.0, 2.0)]) == ((1.0, 2.0),)


def test_the_parts_of_a_bar_add_up() -> None:
    parts = [("accepted", "accepted", 1), ("rejected", "rejected", 0), ("x", "x", 3)]
    tree = ElementTree.fromstring(charts.bar("row", parts))
    drawn = [(rect.get("x"), rect.get("width")) for rect in tree.iter(f"{SVG}rect")]
    assert drawn == [("0.000%", "25.000%"), ("25.000%", "75.000%")]
    assert tree.get("aria-label") == "row. accepted 1 (25\xa0%), x 3 (75\xa0%)."
    assert "nothing" in charts.bar("row", [])


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 10, ["0", "2", "4", "6", "8", "10"]), (0.1, 0.35, ["0.10", "0.15", "0.20", "0.25", "0.30", "0.35"]),
        (-20, 20, ["−20", "−10", "0", "10", "20"]), (0.0, 1.5e-5, ["0", "5e−6", "1e−5", "1.5e−5"]),
    ],
)  # fmt: skip
def test_ticks_are_round_and_hold_both_ends(low: float, high: float, words: list[str]) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert figures(found) == words


def test_one_value_has_an_axis_too() -> None:
    assert ticks(3, 3)[0] == 3
    assert len(ticks(0, 0)) >= 2
