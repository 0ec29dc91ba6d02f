"""What all figures share: SVG as a tree, so that it is well-formed with any label; classes for colours; axes.

Positions across are percentages and positions down are pixels, so a figure follows the width of the page while its
type keeps its size. The page's style sheet gives colours, in both its light and its dark form.
"""

import math
import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

_UNFIT = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STEPS = tuple(factor * 10.0**power for power in range(-9, 10) for factor in (1, 2, 5))


def figure(height: int, title: str, description: str) -> Element:
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "width": "100%", "role": "img"})
    svg.set("height", str(height))
    svg.set("aria-label", clean(f"{title}. {description}."))
    return svg


def add(parent: Element, tag: str, kind: str = "", **attributes: object) -> Element:
    """An element; underscores of attribute names become hyphens."""
    found = {name.replace("_", "-"): clean(str(value)) for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, found | ({"class": kind} if kind else {}))


def text(svg: Element, x: str, y: float, words: str, kind: str, anchor: str = "start") -> None:
    add(svg, "text", kind, x=x, y=f"{y:g}", text_anchor=anchor).text = clean(words)


def clean(words: str) -> str:
    """Without the characters that XML cannot hold at all."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", words)


def render(svg: Element) -> str:
    return ElementTree.tostring(svg, encoding="unicode")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers at equal distances whose range holds both ends; at least two, about `most` at the most."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = next((step for step in _STEPS if (high - low) / step <= most), _STEPS[-1])
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * tick, 10) for tick in range(first, last + 1)]


def along(axis: Sequence[float], value: float) -> float:
    """Where a value lies on an axis, in percent."""
    return 100 * (value - axis[0]) / (axis[-1] - axis[0])


def figures(values: Iterable[float]) -> list[str]:
    """Ticks as text, all with as many decimals as their distance needs."""
    found = list(values)
    step = abs(found[1] - found[0]) if len(found) > 1 else 1.0
    if step < 1e-4:
        return [f"{value:.2g}".replace("e-0", "e-").replace("-", "\N{MINUS SIGN}") for value in found]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}") for value in found]
