"""The report's two figures as inline SVG: the funnel, and before/after with 95 % intervals.

Positions across are percentages and positions down are pixels, so that a figure follows the width of the
page while its type keeps its size. Colours come from the page's style sheet (classes), so both follow its
dark mode. Elements are built as a tree, so that the result is well-formed XML with any label.
"""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from veridistill.report.builds import Bar, StageBar
from veridistill.report.exams import Estimate
from veridistill.report.values import PERCENT, decimal, share

_ROW = 50
_STAGE_ROW = 70
_UNFIT = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def funnel(levels: Sequence[Bar], stages: Sequence[StageBar]) -> str:
    """The candidates of each level; under the well-formed ones, what each stage did with them.

    A level's bar is as long as its count. A stage's bar is as long as all well-formed candidates, in four parts:
    passed, left open, ended, and (an outline) never asked about.
    """
    whole = max((bar.count for bar in levels), default=0)
    words = [f"{bar.label}: {bar.count:,} ({share(bar.count, whole)})" for bar in levels]
    words += [f"{bar.label}: {_of_stage(bar)}" for bar in stages]
    height = len(levels) * _ROW + len(stages) * _STAGE_ROW
    svg, top = _figure(height, "Funnel of the candidates", "; ".join(words)), 0
    for row, bar in enumerate(levels):
        if row == 2:  # between what is well formed and what is accepted
            top = _stages(svg, top, stages, whole)
        _level(svg, top, bar, whole, "bar last" if row == len(levels) - 1 else "bar")
        top += _ROW
    if len(levels) < 3:
        _stages(svg, top, stages, whole)
    return _render(svg)


def _level(svg: ElementTree.Element, top: int, bar: Bar, whole: int, kind: str) -> None:
    _text(svg, "0", top + 16, bar.label, "label")
    _text(svg, "100%", top + 16, f"{bar.count:,}  ({share(bar.count, whole)})", "figure", "end")
    width = f"{_percent(bar.count, whole):.3f}%" if bar.count else "1"
    _add(svg, "rect", x="0", y=top + 24, width=width, height=16, **{"class": kind})


def _stages(svg: ElementTree.Element, top: int, stages: Sequence[StageBar], whole: int) -> int:
    for bar in stages:
        _text(svg, "0", top + 16, bar.label, "label")
        _text(svg, "100%", top + 16, f"asked about {bar.asked:,} of {bar.well_formed:,}", "figure", "end")
        parts = (
            (bar.passed, "passed"), (bar.left_open, "open"), (bar.ended, "ended"), (bar.not_asked, "unasked")
        )  # fmt: skip
        left = 0
        for count, kind in parts:
            if count:
                x, width = (f"{_percent(value, whole):.3f}%" for value in (left, count))
                _add(svg, "rect", x=x, y=top + 24, width=width, height=16, **{"class": f"part {kind}"})
            left += count
        words = f"passed {bar.passed:,}, left open {bar.left_open:,}, ended {bar.ended:,}"
        _text(svg, "0", top + 57, words, "tick")
        top += _STAGE_ROW
    return top


def _of_stage(bar: StageBar) -> str:
    return (
        f"asked about {bar.asked:,} of {bar.well_formed:,}, passed {bar.passed:,}, left open {bar.left_open:,},"
        f" ended {bar.ended:,}"
    )


def intervals(before: Estimate | None, after: Estimate | None, gain: Estimate | None) -> str:
    """pass@1 before and after on one axis, each with its interval, and the paired difference.

    The difference is drawn from the mean before (dashed line): where its interval clears the line, the gain
    does. Returns an empty string when there is nothing to draw.
    """
    rows = [("before", before, before, "%"), ("after", after, after, "%")]
    if gain is not None and before is not None:
        rows.append(("difference", _moved(gain, before.mean), gain, "points"))
    drawn = [
        (name, place, value, unit)
        for name, place, value, unit in rows
        if place is not None and value is not None
    ]
    if not drawn:
        return ""
    axis = _axis([place for _, place, _, _ in drawn])
    words = [f"{name}: {_words(value, unit)}" for name, _, value, unit in drawn]
    svg = _figure(len(drawn) * _ROW + 34, "pass@1 with 95 % intervals", "; ".join(words))
    _ticks(svg, axis, len(drawn) * _ROW + 4)
    if before is not None:
        x = f"{_along(axis, before.mean):.3f}%"
        _add(svg, "line", x1=x, x2=x, y1=30, y2=len(drawn) * _ROW + 4, **{"class": "zero"})
    for row, (name, place, value, unit) in enumerate(drawn):
        _text(svg, "0", row * _ROW + 16, name, "label")
        _text(svg, "100%", row * _ROW + 16, _words(value, unit), "figure", "end")
        _whisker(svg, axis, place, row * _ROW + 32, "gain" if unit == "points" else name)
    return _render(svg)


def _moved(estimate: Estimate, by: float) -> Estimate:
    low, high = (None if end is None else end + by for end in (estimate.low, estimate.high))
    return Estimate(estimate.mean + by, low, high)


def _words(value: Estimate, unit: str) -> str:
    sign = "+" if unit == "points" and value.mean > 0 else ""
    interval = "" if value.low is None or value.high is None else f"  ({value.interval})"
    return f"{sign}{decimal(value.mean)}\N{NO-BREAK SPACE}{unit}{interval}"


def _axis(estimates: Sequence[Estimate]) -> list[float]:
    """Round ticks whose range holds every interval with a little air, four to eight of them."""
    ends = [end for e in estimates for end in (e.mean, e.low, e.high) if end is not None]
    low, high = min(ends) - 1, max(ends) + 1
    step = next((s for s in (1, 2, 5, 10, 20) if (high - low) / s <= 6), 50)
    first, last = int(low // step), int(-(-high // step))
    return [float(step * tick) for tick in range(first, last + 1)]


def _along(axis: Sequence[float], value: float) -> float:
    return 100 * (value - axis[0]) / (axis[-1] - axis[0])


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _ticks(svg: ElementTree.Element, axis: Sequence[float], base: int) -> None:
    _add(svg, "line", x1="0%", x2="100%", y1=base, y2=base, **{"class": "axis"})
    for tick in axis:
        at = _along(axis, tick)
        _add(svg, "line", x1=f"{at:.3f}%", x2=f"{at:.3f}%", y1=base, y2=base + 5, **{"class": "axis"})
        anchor = "start" if tick == axis[0] else "end" if tick == axis[-1] else "middle"
        text = f"{tick:.0f}{PERCENT}" if tick == axis[-1] else f"{tick:.0f}"
        _text(svg, f"{at:.3f}%", base + 21, text.replace("-", "\N{MINUS SIGN}"), "tick", anchor)


def _whisker(svg: ElementTree.Element, axis: Sequence[float], place: Estimate, y: int, kind: str) -> None:
    if place.low is not None and place.high is not None:
        low, high = (f"{_along(axis, end):.3f}%" for end in (place.low, place.high))
        _add(svg, "line", x1=low, x2=high, y1=y, y2=y, **{"class": f"whisker {kind}"})
        for x in (low, high):
            _add(svg, "line", x1=x, x2=x, y1=y - 5, y2=y + 5, **{"class": f"whisker {kind}"})
    _add(svg, "circle", cx=f"{_along(axis, place.mean):.3f}%", cy=y, r=5, **{"class": f"dot {kind}"})


def _figure(height: int, title: str, description: str) -> ElementTree.Element:
    svg = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "width": "100%", "role": "img"})
    svg.set("height", str(height))
    svg.set("aria-label", _clean(f"{title}. {description}."))
    return svg


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    return ElementTree.SubElement(
        parent, tag, {name: _clean(str(value)) for name, value in attributes.items()}
    )


def _text(svg: ElementTree.Element, x: str, y: int, text: str, kind: str, anchor: str = "start") -> None:
    element = _add(svg, "text", x=x, y=y, **{"class": kind, "text-anchor": anchor})
    element.text = _clean(text)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold at all."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def _render(svg: ElementTree.Element) -> str:
    return ElementTree.tostring(svg, encoding="unicode")
