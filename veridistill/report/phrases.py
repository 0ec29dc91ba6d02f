"""A record of `progress.json` in words: the same phrases on a terminal, in a log and in `veridistill status`."""

import math
from typing import Any

from veridistill.report.values import count, duration, share

Record = dict[str, Any]


def line(record: Record) -> str:
    """A step as one plain line."""
    ends = {"done": "done in ", "stopped": "stopped after "}
    spent = ends.get(record["state"], "") + duration(record["seconds"])
    left = time_left(record)
    return printable(f"{record['step']}: " + ", ".join([*phrases(record), spent, *([left] if left else [])]))


def phrases(record: Record) -> list[str]:
    """What is done and how, most important first."""
    return [*_units(record), *_calls(record), *_tokens(record), *_facts(record), *_means(record)]


def time_left(record: Record) -> str | None:
    """The time left as a range, or as one figure where its ends read the same."""
    left = record.get("seconds_left")
    if record["state"] != "running" or not left:
        return None
    low, high = _rounded(left["low"]), _rounded(left["high"])
    if left["low"] < 1:
        return f"up to {high} left"
    if low == high:
        return f"{high} left"
    if low.partition(" ")[2] == high.partition(" ")[2]:
        low = low.partition(" ")[0]
    return f"{low} to {high} left"


def _units(record: Record) -> list[str]:
    unit, done, total = f" {record['unit']}" if record["unit"] else "", record["done"], record["total"]
    if total is None:
        return [f"{count(done)}{unit}"] if unit or done else []
    return [f"{count(done)}/{count(total)}{unit} ({share(done, total)})"]


def _calls(record: Record) -> list[str]:
    calls = record["calls"]
    if calls is None:
        return []
    low, high = calls["expected_low"], calls["expected_high"]
    known = ""
    if record["state"] == "running" and high is not None:
        known = f"/{count(low)}" if low == high else f" of {count(low)} to {count(high)}"
    found = [f"{count(calls['done'])}{known} calls"]
    if calls["replayed"]:
        found.append(f"{count(calls['replayed'])} replayed, {count(calls['asked'])} asked")
    if record["state"] == "running":
        found.append(f"{count(calls['in_flight'])}/{count(calls['slots'])} slots in use")
        if record["seconds"] >= 1:
            found.append(f"{share(calls['occupancy'], 1)} busy")
    if (candidates := record["candidates"]) and candidates["judged"]:
        accepted, judged = candidates["accepted"], candidates["judged"]
        found.append(f"{count(accepted)}/{count(judged)} candidates accepted ({share(accepted, judged)})")
    if calls["reasks"]:
        found.append(f"{count(calls['reasks'])} asked again")
    if calls["retries"]:
        found.append(f"{count(calls['retries'])} retries")
    return found


def _tokens(record: Record) -> list[str]:
    tokens = record["tokens"]
    if tokens is None or not tokens["decoded"]:
        return []
    rate = tokens["per_second"]
    if record["state"] != "running":
        rate = tokens["decoded"] / record["seconds"] if record["seconds"] else None
    return [f"{count(tokens['decoded'])} tokens", *([] if rate is None else [f"{count(rate)} tokens/s"])]


def _facts(record: Record) -> list[str]:
    facts = dict(record["facts"])
    found = []
    if (votes := facts.pop("votes", None)) is not None:
        found.append(f"{count(facts.pop('invalid_votes', 0))}/{count(votes)} votes invalid")
    found += [_fact(name, value) for name, value in facts.items()]
    if (cost := record["cost"]) is not None:
        found.append(f"{cost['currency']} {cost['spent']:,.2f}")
    return found


def _fact(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if value is None:
        return f"{words} not a number"
    if isinstance(value, int):
        return f"{words} {value:,}"
    return f"{words} {value:.4g}" if isinstance(value, float) else f"{words} {value}"


def _means(record: Record) -> list[str]:
    memory = record.get("memory")
    if not memory or record["state"] != "running":
        return []
    own = memory["process"] + memory["children"]
    gpus = [f"GPU {_size(gpu['used'])} of {_size(gpu['total'])}" for gpu in memory["gpus"]]
    return [f"memory {_size(own)}", *gpus]


def _size(num: int) -> str:
    """Bytes: "0.4 GB", "12 GB"."""
    giga = num / 1e9
    return f"{giga:.1f} GB" if giga < 9.95 else f"{giga:.0f} GB"


def _rounded(seconds: float) -> str:
    """No finer than an estimate can be."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    if seconds < 3 * 3600:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"


def printable(text: str) -> str:
    """On one line and without control codes."""
    shown = (" " if letter.isspace() and letter != "\N{NO-BREAK SPACE}" else letter for letter in text)
    return "".join(
        letter if letter.isprintable() or letter == "\N{NO-BREAK SPACE}" else "\N{REPLACEMENT CHARACTER}"
        for letter in shown
    )
