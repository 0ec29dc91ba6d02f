"""The report's figures of proportions as inline SVG: the funnel, before/after, and differences with their intervals."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from veridistill.report.builds import Bar, StageBar
from veridistill.report.exams import Estimate
from veridistill.report.svg import add, along, figure, figures, render, text, ticks
from veridistill.report.values import PERCENT, decimal, share

_ROW = 50
_STAGE_ROW = 70
_THIN_ROW = 30


def funnel(levels: Sequence[Bar], stages: Sequence[StageBar]) -> str:
    """The candidates of each level; under the well-formed ones, what each stage did with them.

    A level's bar is as long as its count. A stage's bar is as long as all well-formed candidates, in four parts:
    passed, left open, ended, and (an outline) never asked about.
    """
    whole = max((bar.count for bar in levels), default=0)
    words = [f"{bar.label}: {bar.count:,} ({share(bar.count, whole)})" for bar in levels]
    words += [f"{bar.label}: {_of_stage(bar)}" for bar in stages]
    height = len(levels) * _ROW + len(stages) * _STAGE_ROW
    svg, top = figure(height, "Funnel of the candidates", "; ".join(words)), 0
    for row, bar in enumerate(levels):
        if row == 2:  # between what is well formed and what is accepted
            top = _stages(svg, top, stages, whole)
        _level(svg, top, bar, whole, "bar last" if row == len(levels) - 1 else "bar")
        top += _ROW
    if len(levels) < 3:
        _stages(svg, top, stages, whole)
    return render(svg)


def _level(svg: Element, top: int, bar: Bar, whole: int, kind: str) -> None:
    text(svg, "0", top + 16, bar.label, "label")
    text(svg, "100%", top + 16, f"{bar.count:,}  ({share(bar.count, whole)})", "figure", "end")
    width = f"{_percent(bar.count, whole):.3f}%" if bar.count else "1"
    add(svg, "rect", kind, x="0", y=top + 24, width=width, height=16)


def _stages(svg: Element, top: int, stages: Sequence[StageBar], whole: int) -> int:
    for bar in stages:
        text(svg, "0", top + 16, bar.label, "label")
        text(svg, "100%", top + 16, f"asked about {bar.asked:,} of {bar.well_formed:,}", "figure", "end")
        parts = (
            (bar.passed, "passed"), (bar.left_open, "open"), (bar.ended, "ended"), (bar.not_asked, "unasked")
        )  # fmt: skip
        left = 0
        for count, kind in parts:
            if count:
                x, width = (f"{_percent(value, whole):.3f}%" for value in (left, count))
                add(svg, "rect", f"part {kind}", x=x, y=top + 24, width=width, height=16)
            left += count
        words = f"passed {bar.passed:,}, left open {bar.left_open:,}, ended {bar.ended:,}"
        text(svg, "0", top + 57, words, "tick")
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
    svg = figure(len(drawn) * _ROW + 34, "pass@1 with 95 % intervals", "; ".join(words))
    _ticks(svg, axis, len(drawn) * _ROW + 4)
    if before is not None:
        x = f"{along(axis, before.mean):.3f}%"
        add(svg, "line", "zero", x1=x, x2=x, y1=30, y2=len(drawn) * _ROW + 4)
    for row, (name, place, value, unit) in enumerate(drawn):
        text(svg, "0", row * _ROW + 16, name, "label")
        text(svg, "100%", row * _ROW + 16, _words(value, unit), "figure", "end")
        _whisker(svg, axis, place, row * _ROW + 32, _sign(value) if unit == "points" else name)
    return render(svg)


def _moved(estimate: Estimate, by: float) -> Estimate:
    low, high = (None if end is None else end + by for end in (estimate.low, estimate.high))
    return Estimate(estimate.mean + by, low, high)


def _words(value: Estimate, unit: str) -> str:
    sign = "+" if unit == "points" and value.mean > 0 else ""
    interval = "" if value.low is None or value.high is None else f"  ({value.interval})"
    return f"{sign}{decimal(value.mean)}\N{NO-BREAK SPACE}{unit}{interval}"


def differences(rows: Sequence[tuple[str, Estimate]]) -> str:
    """Paired differences with their intervals on one axis, in points, and the line where there is none.

    Returns an empty string when there is nothing to draw.
    """
    if not rows:
        return ""
    axis = _axis([value for _, value in rows] + [Estimate(0.0)])
    words = "; ".join(f"{name}: {_words(value, 'points')}" for name, value in rows)
    height = len(rows) * (_THIN_ROW + 18)
    svg = figure(height + 30, "Differences in pass@1 with 95 % intervals", words)
    _ticks(svg, axis, height + 2, "points")
    zero = f"{along(axis, 0.0):.3f}%"
    add(svg, "line", "zero", x1=zero, x2=zero, y1=0, y2=height + 2)
    for row, (name, value) in enumerate(rows):
        top = row * (_THIN_ROW + 18)
        text(svg, "0", top + 16, name, "label")
        text(svg, "100%", top + 16, _words(value, "points"), "figure", "end")
        _whisker(svg, axis, value, top + 32, _sign(value))
    return render(svg)


def _sign(difference: Estimate) -> str:
    """A gain or a loss only if the interval says so."""
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return "unclear"
    return "gain" if difference.low > 0 else "loss"


def _axis(estimates: Sequence[Estimate]) -> list[float]:
    """Round ticks whose range holds every interval with a little air."""
    ends = [end for e in estimates for end in (e.mean, e.low, e.high) if end is not None]
    return ticks(min(ends) - 1, max(ends) + 1)


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _ticks(svg: Element, axis: Sequence[float], base: int, unit: str = "%") -> None:
    add(svg, "line", "axis", x1="0%", x2="100%", y1=base, y2=base)
    for tick, words in zip(axis, figures(axis), strict=True):
        at = f"{along(axis, tick):.3f}%"
        add(svg, "line", "axis", x1=at, x2=at, y1=base, y2=base + 5)
        anchor = "start" if tick == axis[0] else "end" if tick == axis[-1] else "middle"
        ending = PERCENT if unit == "%" else f"\N{NO-BREAK SPACE}{unit}"
        text(svg, at, base + 21, words + ending if tick == axis[-1] else words, "tick", anchor)


def _whisker(svg: Element, axis: Sequence[float], place: Estimate, y: int, kind: str) -> None:
    if place.low is not None and place.high is not None:
        low, high = (f"{along(axis, end):.3f}%" for end in (place.low, place.high))
        add(svg, "line", f"whisker {kind}", x1=low, x2=high, y1=y, y2=y)
        for x in (low, high):
            add(svg, "line", f"whisker {kind}", x1=x, x2=x, y1=y - 5, y2=y + 5)
    add(svg, "circle", f"dot {kind}", cx=f"{along(axis, place.mean):.3f}%", cy=y, r=5)
