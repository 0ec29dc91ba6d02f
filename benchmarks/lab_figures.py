"""The tables of the lab study, and the one in README that sets the lab beside real models."""

from collections.abc import Iterator
from typing import Any

from markdown import Json, gain, percent, span, table

ARMS = ("cascade", "unfiltered", "oracle")


def runs(found: Json) -> str:
    rows: list[tuple[Any, ...]] = [
        (seed, arm, f"{one['examples']:,}", *_points(study["base"], one), gain(one["gain"]))
        for seed, study in found["seeds"].items()
        for arm in ARMS
        for one in [study["arms"][arm]]
    ]
    pooled = found["pooled"]
    rows += [("pooled", arm, "", "", "", gain(pooled["gain"][arm])) for arm in ARMS]
    head = "run seed | trained on | > examples | > pass@1 before | > after | > gain, 95 % interval"
    return table(head, rows) + (
        f"\nPooled, the cascade's gain is {gain(pooled['cascade_over_unfiltered'])} points above that of unfiltered"
        f" samples for the same questions, and {100 * pooled['share_of_oracle']:.0f} % of the oracle's.\n"
    )


def _points(*exams: Json) -> Iterator[str]:
    return (f"{exam['pass_at_1']:.1f}" for exam in exams)


def judged(found: Json) -> str:
    rows = [
        (
            seed,
            *(f"{100 * study[part]['share_right']:.1f} %" for part in ("candidate_0", "judged")),
            *(f"{100 * study['judged'][share]:.1f} %" for share in ("precision", "recall")),
        )
        for seed, study in found["seeds"].items()
    ]
    return table(
        "run seed | > right among candidates 0 | > among all judged | > among accepted | > recall", rows
    )


def headline(lab: Json, real: Json) -> str:
    """The lab's pooled result and each measured real model, a row each."""
    studies = lab["seeds"].values()
    first = span(study["candidate_0"]["share_right"] for study in studies)
    kept = span(study["judged"]["precision"] for study in studies)
    gains = [gain(lab["pooled"]["gain"][arm]) for arm in ("cascade", "unfiltered")]
    rows = [
        ("lab, 1 million parameters", "equations", f"{first} %", f"{kept} %", *gains),
        *(row for run in real["runs"].values() for row in _real(run)),
    ]
    head = "model | questions | > right: candidates 0 | > right: kept | > gain, cascade | > gain, unfiltered"
    return table(head, rows)


def _real(run: Json) -> Iterator[tuple[str, ...]]:
    if shares := run.get("right"):
        kept = shares["kept"]
        gains = [(run["arms"].get(arm) or {}).get("gain") for arm in ("cascade", "unfiltered")]
        yield (
            run["model"],
            run["domain"],
            percent(shares["first"]),
            percent(kept) if kept["graded"] else "none kept",
            *(gain(one) if one else "not trained" for one in gains),
        )
