"""What exactness costs: calls and tokens of five policies on one run, and whether they keep the same candidates.

    python benchmarks/cascade.py --json FILE                 # makes an exhaustive run of the lab, then replays it
    python benchmarks/cascade.py --run runs/exhaustive       # an existing run
    python benchmarks/cascade.py --quick                     # below a minute

Every policy is replayed from the journal of one exhaustive run by an engine that refuses every call, so all see the
same replies and the comparison is exact. Needs no labels. `reference` and `stage_exit` are written here a second time,
without the combinators, and so check those too.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from veridistill.calls.replay import Recorded, replayer
from veridistill.cascade import vote
from veridistill.config import BuildSection
from veridistill.data.rundir import RunDir, forked_journals, stored_config
from veridistill.decide import defect
from veridistill.domains import DOMAINS
from veridistill.lazy import Ask
from veridistill.method import Plan, distil, generate
from veridistill.records import Candidate, Seed
from veridistill.runs import inputs
from veridistill.runs.ablate import Source, source

QUICK_QUESTIONS = 40

Keeps = Callable[[Seed, Ask, Plan], Awaitable[list[int]]]
"""A policy for one question: the indices of the candidates that it keeps."""


async def ours(seed: Seed, ask: Ask, plan: Plan) -> list[int]:
    return [candidate.index for candidate in (await distil(seed, ask, plan)).kept]


async def reference(seed: Seed, ask: Ask, plan: Plan) -> list[int]:
    """The authors' code: all candidates are generated, then judged in order up to the first valid one."""
    candidates = [await generate(seed, index, plan, ask) for index in range(plan.candidates)]
    for candidate in candidates:
        if await passes(seed, candidate, ask, plan):
            return [candidate.index]
    return []


async def stage_exit(seed: Seed, ask: Ask, plan: Plan) -> list[int]:
    """All candidates are generated and judged; a stage is asked only if the one before it passed."""
    candidates = [await generate(seed, index, plan, ask) for index in range(plan.candidates)]
    return [c.index for c in candidates if await passes(seed, c, ask, plan)][:1]


async def passes(seed: Seed, candidate: Candidate, ask: Ask, plan: Plan) -> bool:
    """The cascade with all votes of a stage asked, even after a no."""
    if defect(candidate.completion, DOMAINS[seed.domain].answer_of, plan.reasoning):
        return False
    for stage in plan.stages:
        votes = [await vote(stage, seed, candidate, index, plan.jury, ask) for index in range(plan.votes)]
        if not all(cast.passed for cast in votes):
            return False
    return True


POLICIES: dict[str, tuple[Keeps, BuildSection]] = {
    "exhaustive": (ours, BuildSection(asks="exhaustive", audit_share=0)),
    "stage_exit": (stage_exit, BuildSection(audit_share=0)),
    "reference": (reference, BuildSection(audit_share=0)),
    "paper": (ours, BuildSection(order="paper", audit_share=0)),
    "cheapest": (ours, BuildSection(order="cheapest", audit_share=0)),
}
NAMES = {
    "exhaustive": "everything",
    "stage_exit": "stage exit alone",
    "reference": "the authors' policy",
    "paper": "lazy, paper's order",
    "cheapest": "lazy, cheapest order",
}


@dataclass(frozen=True)
class Cost:
    """What a policy asked and kept."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    tokens: int
    kept: int


async def costs(found: Source, limit: int | None) -> dict[str, Any]:
    """All policies over the run's questions."""
    seeds = inputs.questions(found.run).seeds[:limit]
    plan = replace(found.plan, selection="first", extra_stages=())
    measured: dict[str, Cost] = {}
    kept: dict[str, list[list[int]]] = {}
    for name in POLICIES:
        measured[name], kept[name] = await replayed(found, name, plan, seeds)
        print(f"{NAMES[name]}: {measured[name].tokens:,} tokens", file=sys.stderr)
    cells = await grid(found, plan, seeds)
    same = all(other == kept["exhaustive"] for other in kept.values())
    return {
        "run": found.run.path.name,
        "model": found.engine.fingerprint,
        "questions": len(seeds),
        "candidates": plan.candidates,
        "votes": plan.votes,
        "stages": list(plan.stages),
        "policies": {name: asdict(cost) for name, cost in measured.items()},
        "tokens_vs_exhaustive": ratios(measured, "exhaustive", "tokens"),
        "tokens_vs_reference": ratios(measured, "reference", "tokens"),
        "completion_vs_exhaustive": ratios(measured, "exhaustive", "completion_tokens"),
        "completion_vs_reference": ratios(measured, "reference", "completion_tokens"),
        "calls_vs_exhaustive": ratios(measured, "exhaustive", "calls"),
        "calls_vs_reference": ratios(measured, "reference", "calls"),
        "same_kept_set_by_cell": cells,
        "same_kept_set": same and all(cells.values()),
    }


async def grid(found: Source, plan: Plan, seeds: Sequence[Seed]) -> dict[str, bool]:
    """For each n and v, whether both orders keep what the authors' policy keeps."""
    cells = {}
    for n, v in product(sorted({1, max(1, plan.candidates // 2), plan.candidates}), range(1, plan.votes + 1)):
        smaller = replace(plan, candidates=n, votes=v)
        kept = [
            (await replayed(found, name, smaller, seeds))[1] for name in ("reference", "paper", "cheapest")
        ]
        cells[f"n{n}-v{v}"] = kept[0] == kept[1] == kept[2]
    return cells


async def replayed(
    found: Source, name: str, plan: Plan, seeds: Sequence[Seed]
) -> tuple[Cost, list[list[int]]]:
    keeps, policy = POLICIES[name]
    recorded = Recorded((found.run.journal, *found.run.older))
    asker = replayer(found.engine, recorded, policy, found.run.config.seed)
    kept = []
    for seed in seeds:
        async with asker.unit(seed.seed_id) as ask:
            kept.append(await keeps(seed, ask, plan))
    recorded.close()
    meter = asker.meter
    prompt, completion = sum(meter.prompt_tokens.values()), sum(meter.completion_tokens.values())
    cost = Cost(sum(meter.calls.values()), prompt, completion, prompt + completion, sum(map(len, kept)))
    return cost, kept


def ratios(measured: dict[str, Cost], whole: str, unit: str) -> dict[str, float]:
    """By order: our cost as a share of another policy's."""
    divisor = getattr(measured[whole], unit)
    return {order: round(getattr(measured[order], unit) / divisor, 4) for order in ("paper", "cheapest")}


def table(data: dict[str, Any]) -> str:
    whole, authors = (data["policies"][name]["tokens"] for name in ("exhaustive", "reference"))
    lines = [
        f"{data['questions']} questions, n={data['candidates']}, v={data['votes']}; same kept set:"
        f" {'yes' if data['same_kept_set'] else 'NO'}, in all of {len(data['same_kept_set_by_cell'])} cells n x v",
        "| policy | calls | prompt tokens | completion tokens | tokens | of everything | of the authors' |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {NAMES[name]} | {c['calls']:,} | {c['prompt_tokens']:,} | {c['completion_tokens']:,} | {c['tokens']:,} |"
        f" {c['tokens'] / whole:.1%} | {c['tokens'] / authors:.1%} |"
        for name, c in data["policies"].items()
    ]
    return "\n".join(lines)


def exhaustive_run(out: Path, limit: int, scripted: bool) -> Path:
    """Build the lab's questions, everything asked; the same command resumes it."""
    options = ["--limit", str(limit), "-o", "build.asks=exhaustive", "-o", "build.extra_stages=[simple]"]
    options += ["-o", "engine.kind=scripted"] if scripted else []
    program = [sys.executable, "-c", "from veridistill.cli import main; main()"]
    subprocess.run([*program, "build", "lab", "--out", str(out), *options], check=True, stdout=sys.stderr)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, help="an exhaustive run; default: make one of the lab")
    parser.add_argument("--limit", type=int, default=500, help="questions of the lab to make it with")
    parser.add_argument("--scripted", action="store_true", help="make it with the scripted engine")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_QUESTIONS} questions")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    limit = QUICK_QUESTIONS if options.quick else options.limit
    run = options.run or exhaustive_run(Path(f"runs/cascade-{limit}"), limit, options.scripted)
    found = source(RunDir(run, stored_config(run), forked_journals(run)[1:]))
    data = asyncio.run(costs(found, QUICK_QUESTIONS if options.quick else None))
    print(table(data))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    if not data["same_kept_set"]:
        sys.exit("the policies kept different candidates")


if __name__ == "__main__":
    main()
