"""`veridistill status`: what `progress.json` and `results.json` say of a run, and whether its process is at work."""

import time
from pathlib import Path
from typing import Any

from veridistill.config import Config
from veridistill.data.rundir import RunDir, read_json
from veridistill.report import heartbeat, phrases
from veridistill.report.screens import flowed, terminal_width
from veridistill.report.values import duration, share
from veridistill.runs import cost, figures


def status(path: Path, config: Config) -> dict[str, Any]:
    """Everything as one object.

    `life` is "running", "still" (signs of life, but nothing has moved for ten minutes), "stalled" (no sign of life),
    "gone" (the process ended without a word), "ended", or None when nothing has run here. `cost` is that of what the
    journal held when a model was last closed.
    """
    results, progress = read_json(RunDir(path, config).results), heartbeat.read(path)
    tokens = results.get("tokens")
    return {
        "run": str(path),
        "status": results.get("status", "not started"),
        "life": None if progress is None else heartbeat.life(progress),
        "cost": cost.of_tokens(config.cost, tokens) if tokens else None,
        "progress": progress,
        "results": results,
    }


def lines(found: dict[str, Any]) -> str:
    """The same for a terminal."""
    progress, results = found["progress"], found["results"]
    shown = [f"{found['run']}: {_headline(found)}"]
    if progress is not None:
        shown += [f"  {phrases.line(step)}" for step in progress["steps"] if step["unit"]]
        if progress["state"] == "running":
            shown += _current(progress, live=found["life"] in ("running", "still"))
    if found["cost"] is not None and found["cost"]["total"]:
        shown.append(f"cost: {cost.line(found['cost'])}")
    if results.get("funnel"):
        shown.append(figures.funnel_lines(results["funnel"]))
    if results.get("rounds") and (line := figures.target_line(results)) is not None:
        shown.append(line)
    return "\n".join(shown)


def _headline(found: dict[str, Any]) -> str:
    progress, life = found["progress"], found["life"]
    if progress is None or life == "ended":
        return str(found["status"]).replace("_", " ")
    who = f"process {progress['pid']} on {progress['host']}"
    silent = duration(max(time.time() - progress["updated_at"], 0))
    still = duration(max(time.time() - progress["moved_at"], 0))
    return {
        "running": f"running ({who}, last sign {silent} ago)",
        "still": f"running ({who}), but nothing has moved for {still}: a long reply, or an engine that hangs",
        "stalled": f"stalled: {who} has given no sign for {silent}",
        "gone": f"{who} is gone, without a word, most likely killed; the same command resumes the run",
    }[life]


def _current(progress: dict[str, Any], live: bool) -> list[str]:
    times = duration(progress["seconds"])
    if live and (left := phrases.time_left(progress)) is not None:
        times += f", {left}"
    rows = flowed(phrases.phrases(progress), terminal_width() - 4)
    head = f"  {progress['step']}: {share(progress['share'], 1)}, {times}"
    return [head, *(f"    {phrases.printable(row)}" for row in rows)]
