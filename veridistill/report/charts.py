"""The report's other figures: lines over a numeric axis (training, lengths), and one bar in coloured parts.

A line's points are stretched to the page's width; its type and its stroke are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from veridistill.report.svg import add, along, figure, figures, render, text, ticks
from veridistill.report.values import share

_HEIGHT = 150
_TOP = 24
MOST_POINTS = 400
"""Points of one line; a longer series is shown by the means of its parts."""


@dataclass(frozen=True, slots=True)
class Line:
    """A named series; `kind` is the class that colours it."""

    name: str
    kind: str
    points: tuple[tuple[float, float], ...]


def lines(title: str, across: str, series: Sequence[Line], from_zero: bool = False) -> str:
    """Lines on common axes; an empty string if none of them has a point."""
    found = [Line(one.name, one.kind, thinned(one.points)) for one in series if one.points]
    if not found:
        return ""
    xs, ys = ([point[axis] for one in found for point in one.points] for axis in (0, 1))
    right = ticks(min(xs), max(xs))
    up = ticks(0.0 if from_zero else min(ys), max(ys), 4)
    ends = "; ".join(
        f"{one.name} from {one.points[0][1]:.4g} to {one.points[-1][1]:.4g}, {len(one.points)} points"
        for one in found
    )
    svg = figure(_TOP + _HEIGHT + 42, title, ends)
    heights = [_TOP + _HEIGHT * (1 - along(up, tick) / 100) for tick in up]
    for y in heights:
        add(svg, "line", "grid", x1="0%", x2="100%", y1=f"{y:.1f}", y2=f"{y:.1f}")
    for tick, words in zip(right, figures(right), strict=True):
        anchor = "start" if tick == right[0] else "end" if tick == right[-1] else "middle"
        text(svg, f"{along(right, tick):.3f}%", _TOP + _HEIGHT + 18, words, "tick", anchor)
    text(svg, "50%", _TOP + _HEIGHT + 37, across, "tick", "middle")
    inner = add(
        svg,
        "svg",
        x=0,
        y=_TOP,
        width="100%",
        height=_HEIGHT,
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
    )
    for one in found:
        points = [(along(right, x), 100 - along(up, y)) for x, y in one.points]
        if len(points) == 1:
            points = [(0.0, points[0][1]), (100.0, points[0][1])]
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        add(inner, "polyline", f"line {one.kind}", points=path, vector_effect="non-scaling-stroke")
    for y, words in zip(heights, figures(up), strict=True):
        text(svg, "0", y - 4, words, "tick halo")
    return render(svg)


def thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most `MOST_POINTS` points: the means of equal parts of the series."""
    if len(points) <= MOST_POINTS:
        return tuple(points)
    cuts = [round(part * len(points) / MOST_POINTS) for part in range(MOST_POINTS + 1)]
    return tuple(
        (
            sum(x for x, _ in points[low:high]) / (high - low),
            sum(y for _, y in points[low:high]) / (high - low),
        )
        for low, high in pairwise(cuts)
    )


def steps(edges: Sequence[float], values: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """A histogram's outline: `values` between `edges`."""
    points = [(edges[0], 0.0)]
    for (left, right), value in zip(pairwise(edges), values, strict=True):
        points += [(left, value), (right, value)]
    return (*points, (edges[-1], 0.0))


def bar(name: str, parts: Sequence[tuple[str, str, int]]) -> str:
    """One bar over the whole width in parts: (kind, words, count) each."""
    whole = sum(count for _, _, count in parts)
    said = ", ".join(f"{words} {count:,} ({share(count, whole)})" for _, words, count in parts if count)
    svg = figure(14, name, said or "nothing")
    left = 0
    for kind, _, count in parts:
        if count:
            x, width = (f"{100 * value / whole:.3f}%" for value in (left, count))
            add(svg, "rect", f"part {kind}", x=x, y=0, width=width, height=14)
        left += count
    return render(svg)
