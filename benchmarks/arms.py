"""Arms of a study that compare ways to choose what is trained on: selections that no run makes itself.

    python benchmarks/arms.py --run RUN --labels FILE|--scores FILE --fork NEW [-o KEY=VALUE]

builds NEW from the replies of RUN, keeping of each question the first candidate that is labelled right (JSONL: id,
candidate, correct), or the one with the highest score (JSONL: id, candidate, score). `veridistill train --out NEW` goes
on from there. For benchmarks alone.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from veridistill import config as configuration
from veridistill import method
from veridistill.audit import labels as labels_file
from veridistill.data.rundir import forked_journals, opened, stored_config
from veridistill.decide import defect
from veridistill.domains import DOMAINS
from veridistill.lazy import Ask
from veridistill.method import Judged, Plan, Selected
from veridistill.records import Candidate, Seed, Verdict
from veridistill.report.progress import Progress
from veridistill.runs import pipeline, results
from veridistill.runs.session import Serving, Session, serving

Right = Callable[[Seed, Candidate], Awaitable[bool]]
ORACLE, SOFT = "oracle", "soft"


def add_oracle(right: Right) -> None:
    """Make `oracle` a selection of this process: candidates in order, up to the first well-formed one that is right."""

    async def first_right(seed: Seed, ask: Ask, plan: Plan) -> Selected:
        judged: list[Judged] = []
        for index in range(plan.candidates):
            candidate = await method.generate(seed, index, plan, ask)
            judged.append(Judged(candidate, Verdict(seed.seed_id, index, "skipped")))
            formed = defect(candidate.completion, DOMAINS[seed.domain].answer_of, plan.reasoning) is None
            if formed and await right(seed, candidate):
                return judged, [candidate]
        return judged, []

    method.SELECTIONS[ORACLE] = first_right


def add_soft(scores: Mapping[tuple[str, int], float]) -> None:
    """Make `soft` a selection of this process: of a question's candidates the one with the highest score, if any."""

    async def best(seed: Seed, ask: Ask, plan: Plan) -> Selected:
        drawn = [await method.generate(seed, index, plan, ask) for index in range(plan.candidates)]
        scored = [one for one in drawn if (seed.seed_id, one.index) in scores]
        judged = [Judged(one, Verdict(seed.seed_id, one.index, "skipped")) for one in drawn]
        return judged, sorted(scored, key=lambda one: -scores[seed.seed_id, one.index])[:1]

    method.SELECTIONS[SOFT] = best


def selecting(served: Serving, selection: str) -> Serving:
    """The same model and path, with another selection than the configuration's."""
    return replace(served, plan=replace(served.plan, selection=selection))


async def built(session: Session, selection: str) -> None:
    """The first round's dataset by one selection."""
    with results.step(session.run):
        async with serving(session, 1) as served:
            await pipeline.build(session, selecting(served, selection), 1)


def read_scores(path: Path) -> dict[tuple[str, int], float]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {(row["id"], row["candidate"]): row["score"] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run that was built")
    by = parser.add_mutually_exclusive_group(required=True)
    by.add_argument("--labels", type=Path, help="JSONL: id, candidate, correct")
    by.add_argument("--scores", type=Path, help="JSONL: id, candidate, score")
    parser.add_argument("--fork", type=Path, required=True, help="the new run's directory")
    parser.add_argument("-o", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    if options.labels:
        known = labels_file.load(options.labels).candidates

        async def labelled(seed: Seed, candidate: Candidate) -> bool:
            return known.get((seed.seed_id, candidate.index), False)

        add_oracle(labelled)
    else:
        add_soft(read_scores(options.scores))
    stored_config(options.run)
    config = configuration.load(options.run / "config.yaml", options.sets)
    with opened(options.fork, config, forked_journals(options.run)) as run:
        asyncio.run(built(Session(run, Progress(run.path, "auto")), ORACLE if options.labels else SOFT))
        json.dump(results.read(run)["funnel"], sys.stdout)


if __name__ == "__main__":
    main()
