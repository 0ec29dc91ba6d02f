"""The figures are well-formed XML and hold the right numbers at the right places."""

from xml.etree import ElementTree

import pytest

from veridistill.report import plots
from veridistill.report.builds import Bar, StageBar
from veridistill.report.exams import Estimate

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def attributes(svg: str, tag: str, name: str) -> list[str]:
    return [element.get(name, "") for element in ElementTree.fromstring(svg).iter(SVG + tag)]


LEVELS = [
    Bar("candidates", 8000),
    Bar("well formed", 6000),
    Bar("accepted", 40),
    Bar("kept", 0),
]


def test_the_funnel_draws_counts_to_scale() -> None:
    svg = plots.funnel(LEVELS, [])
    assert attributes(svg, "rect", "width") == ["100.000%", "75.000%", "0.500%", "1"]
    assert "6,000  (75\xa0%)" in texts(svg)
    assert "40  (0.5\xa0%)" in texts(svg)


def test_a_stage_is_drawn_in_four_parts_that_add_up_to_the_well_formed() -> None:
    """400 passed, 200 left open, 1,400 ended and 4,000 never asked about, of 8,000 candidates."""
    svg = plots.funnel(LEVELS, [StageBar("factuality", 6000, asked=2000, passed=400, ended=1400)])
    parts = [
        rect for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect") if "part" in rect.get("class", "")
    ]
    drawn = [(rect.get("class"), rect.get("x"), rect.get("width")) for rect in parts]
    assert drawn == [
        ("part passed", "0.000%", "5.000%"),
        ("part open", "5.000%", "2.500%"),
        ("part ended", "7.500%", "17.500%"),
        ("part unasked", "25.000%", "50.000%"),
    ]
    assert "asked about 2,000 of 6,000" in texts(svg)
    assert "passed 400, left open 200, ended 1,400" in texts(svg)
    order = [text for text in texts(svg) if text in {"well formed", "factuality", "accepted", "kept"}]
    assert order == ["well formed", "factuality", "accepted", "kept"], "stages stand between their levels"


def test_a_funnel_without_candidates_does_not_divide_by_zero() -> None:
    assert "0  (–)" in texts(
        plots.funnel([Bar("candidates", 0), Bar("kept", 0)], [StageBar("a", 0, 0, 0, 0)])
    )
    ElementTree.fromstring(plots.funnel([], []))


def test_intervals_lie_on_one_axis() -> None:
    svg = plots.intervals(Estimate(48.2, 44.5, 51.9), Estimate(60.3, 56.8, 63.8), Estimate(12.1, 9.0, 15.2))
    found = texts(svg)
    assert "48.2\xa0%  (44.5 to 51.9)" in found
    assert "+12.1\xa0points  (9.0 to 15.2)" in found
    assert found[:6] == ["40", "45", "50", "55", "60", "65\xa0%"]
    assert attributes(svg, "circle", "cx") == [
        "32.800%",
        "81.200%",
        "81.200%",
    ]  # 40..65: the gain starts at 48.2


@pytest.mark.parametrize(
    ("before", "after", "gain", "num_dots"),
    [
        (Estimate(50.0), None, None, 1),
        (Estimate(0.0, 0.0, 0.0), Estimate(0.0, 0.0, 0.0), Estimate(0.0, 0.0, 0.0), 3),
        (Estimate(100.0, 100.0, 100.0), Estimate(0.0), Estimate(-100.0, -120.0, -80.0), 3),
        (None, Estimate(3.0), Estimate(1.0), 1),
    ],
)
def test_odd_estimates_stay_inside(
    before: Estimate | None, after: Estimate | None, gain: Estimate | None, num_dots: int
) -> None:
    places = attributes(plots.intervals(before, after, gain), "circle", "cx")
    assert len(places) == num_dots
    assert all(0 <= float(place.rstrip("%")) <= 100 for place in places)


def test_nothing_to_draw_is_nothing() -> None:
    assert plots.intervals(None, None, None) == ""
    assert plots.intervals(None, None, Estimate(1.0)) == ""


def test_hostile_labels_stay_text() -> None:
    svg = plots.funnel([Bar("</svg><script>x</script>\x00\x1b\ud800", 3)], [])
    assert "</svg><script>x</script>\ufffd\ufffd\ufffd" in texts(svg)
    assert attributes(svg, "script", "x") == []
