"""The figures of docs/figures, from benchmarks/results: readable on a light and on a dark page.

The background is transparent and every colour has a contrast of at least 3 to 1 against white and against #0d1117,
so that one file serves both. Text stays text, in the reader's own sans serif.
"""

from pathlib import Path
from typing import Any

from markdown import Json

INK, BLUE, ORANGE = "#7a7f87", "#4c82c3", "#c06a2b"
COLOURS = (INK, BLUE, ORANGE)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "veridistill",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "savefig.transparent": True,
}


POLICIES = {
    "exhaustive": "everything",
    "stage_exit": "stage exit alone",
    "reference": "the authors' policy",
    "paper": "lazy, paper's order",
    "cheapest": "lazy, cheapest order",
}


def cascade(found: Json, path: Path) -> None:
    """Tokens by policy, prompt and completion."""
    costs = [found["policies"][name] for name in POLICIES]
    prompt, completion = (
        [cost[f"{part}_tokens"] / 1e6 for cost in costs] for part in ("prompt", "completion")
    )
    pyplot = _pyplot()
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(7.5, 2.9), layout="constrained")
        labels = list(POLICIES.values())
        axes.barh(labels, prompt, color=BLUE, label="prompt")
        bars = axes.barh(labels, completion, left=prompt, color=ORANGE, label="completion")
        shares = [f"{100 * cost['tokens'] / costs[0]['tokens']:.0f} %" for cost in costs]
        axes.bar_label(bars, shares, padding=6)
        axes.margins(x=0.1)
        axes.invert_yaxis()
        axes.set_xlabel("million tokens, the same candidates kept")
        axes.legend(loc="lower right")
        _save(figure, path)


def occupancy(found: Json, path: Path) -> None:
    """The share of slots in use over simulated time, with and without speculation."""
    pyplot = _pyplot()
    with pyplot.rc_context(_STYLE):
        figure, panels = pyplot.subplots(1, len(found["makespan"]), figsize=(9, 2.9), layout="constrained")
        for axes, (size, one) in zip(panels, found["makespan"].items(), strict=True):
            for name, colour in (("off", ORANGE), ("idle", BLUE)):
                points = one["occupancy"][name]
                axes.plot([at for at, _ in points], [used for _, used in points], color=colour, label=name)
            questions, slots = map(int, size.split("x"))
            axes.set_title(f"{questions:,} questions, {slots:,} slots")
            axes.set_xlabel("simulated seconds")
            axes.set_ylim(0, 1.05)
        panels[0].set_ylabel("share of slots in use")
        panels[-1].legend(title="speculation")
        _save(figure, path)


FIGURES = {"cascade.svg": ("cascade", cascade), "occupancy.svg": ("orchestrator", occupancy)}


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    _pyplot().close(figure)
