"""The report's sections about the run itself: its state, its settings and the commands that make it again.

Every part of the results may be missing or null; a section without content is None or empty, and the page
leaves it out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from veridistill.report.values import Item, Results, count, label, latest_round, number, pairs, part


def state(results: Results) -> str:
    """A sentence about a run that did not finish normally, or nothing."""
    return {
        "incomplete": "This run is incomplete: a step stopped or has not run yet. The same command resumes it.",
        "below_quality": "This run finished, but it crossed a quality limit: do not use the result as it is.",
    }.get(str(part(results, "status")), "")


def warnings(results: Results) -> list[str]:
    """The run's own warnings; and "nothing accepted" if nothing was kept and no warning reports that."""
    given = part(results, "warnings")
    found = [str(text) for text in given] if isinstance(given, list | tuple) else []
    if number(part(results, "funnel", "kept")) == 0 and not any("nothing" in text.lower() for text in found):
        found.append("Nothing was accepted: there was nothing to train on.")
    return found


def target(results: Results) -> str:
    """A sentence about a build that stopped once enough questions had a kept candidate, or fell short; or nothing."""
    wanted = number(part(results, "config", "build", "target"))
    latest = latest_round(results)
    reached, kept = number(part(latest, "stopped_at_target")), number(part(latest, "questions_kept"))
    if reached:
        words = f"The build stopped at its target of {count(reached)} kept questions (build.target), so"
        return f"{words} questions behind the last needed one were not asked. A higher target resumes it."
    if wanted and kept is not None and kept < wanted:
        return f"The build kept {count(kept)} questions, short of its target of {count(wanted)}: there were no more."
    return ""


def commands(results: Results) -> list[Item]:
    """What to type to see more of this run, or to make it again from the configuration that it stored."""
    version = part(results, "version")
    install = f"pip install 'veridistill=={version}'" if version else "pip install veridistill"
    return [
        Item("make it again", f"{install}\nveridistill run RUN/config.yaml --out AGAIN"),
        Item("every reply", "veridistill view RUN"),
        Item("compare", "veridistill diff RUN AGAIN"),
        Item("this page", "veridistill report RUN"),
    ]


def subject(results: Results) -> list[Item]:
    """What was run, as far as the results show."""
    config = part(results, "config")
    judge, generate, build = (part(config, name) for name in ("judge", "generate", "build"))
    stages = part(judge, "stages")
    found = (
        ("model", part(config, "model", "path")),
        ("revision", part(config, "model", "revision")),
        ("fingerprint before", part(results, "fingerprints", "base")),
        ("fingerprint after", part(results, "fingerprints", "after")),
        ("roles", _roles(results)),
        ("seed questions", _seeds(results)),
        ("candidates per question, n", part(generate, "candidates")),
        ("votes per stage, v", part(judge, "votes")),
        ("stages", ", ".join(label(str(s)) for s in stages) if isinstance(stages, list | tuple) else None),
        ("selection", {"first": "first valid", "all": "all valid"}.get(str(part(build, "selection")))
         or part(build, "selection")),
        ("order of the votes", part(build, "order")),
        ("asks", part(build, "asks")),
        ("run seed", part(config, "seed")),
        ("version", part(results, "version")),
    )  # fmt: skip
    return [Item(name, str(value)) for name, value in found if value is not None and value != ""]


def _roles(results: Results) -> str:
    """Whether one model plays all roles, or another one judges."""
    judge, engine = part(results, "config", "judge"), part(results, "config", "engine")
    if part(judge, "model") is not None:
        return f"one model generates and learns; another judges: {part(judge, 'model', 'path')}"
    if part(judge, "engine") not in (None, engine):
        return "one model generates, judges and learns; as judge it runs in a separate engine"
    return "one model generates, judges and learns"


def _seeds(results: Results) -> str | None:
    path, number_of = part(results, "config", "seeds", "path"), part(results, "funnel", "seeds")
    if path is None:
        return None
    if number(number_of) is None:
        return str(path)
    latest = latest_round(results)
    near, known = (part(latest, f"{name}_seeds") for name in ("near_duplicate", "contaminated"))
    dropped = [f"{count(near)} near duplicates"] * bool(near) + [
        f"{count(known)} found in a benchmark"
    ] * bool(known)
    left_out = f"; left out: {', '.join(dropped)}, see overlaps.jsonl" if dropped else ""
    return f"{path} ({count(number_of)} questions{left_out})"


def settings(results: Results) -> list[Item]:
    """The resolved configuration, one dotted key a line."""
    return [Item(key, value) for key, value in _flat(part(results, "config"))]


def versions(results: Results) -> list[Item]:
    return [Item(name, str(value)) for name, value in pairs(part(results, "versions"))]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in pairs(value):
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{name}.")
        elif isinstance(inner, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, inner))
        else:
            yield f"{prefix}{name}", "null" if inner is None else str(inner)
