"""`veridistill solve`: one question answered by the cascade, with every candidate and every vote shown.

The procedure is `method.solve`; the caller opens the model and hands over its `Asker`.
"""

from collections.abc import Callable
from typing import Any

from veridistill.calls.ask import Asker
from veridistill.calls.watch import watched
from veridistill.config import SeedsSection
from veridistill.domains import DOMAINS
from veridistill.errors import ConfigError
from veridistill.method import Judged, Plan, Solved, solve
from veridistill.records import Completion, Domain, Path, Seed, Vote, seed_id

_MARKS = {"yes": "Y", "no": "N", "invalid": "?"}


def domain(section: SeedsSection) -> Domain:
    """The domain of a question that is in no file. Raises `ConfigError` when the configuration names a column."""
    for one in DOMAINS:
        if one == section.domain:
            return one
    raise ConfigError(
        f"seeds.domain={section.domain} names no domain, and a single question has no columns; give --domain"
        " math, science or code"
    )


async def answer(
    question: str, domain: Domain, plan: Plan, asker: Asker, say: Callable[[str], None] = lambda _: None
) -> Solved:
    """Answer the question; `say` gets a line for each sample and each result, as they come."""
    seed = Seed(f"solve/{seed_id(question)}", question, domain, "terminal")
    async with asker.unit(seed.seed_id) as ask:
        return await solve(seed, watched(ask, _heard(say), _learned(say)), plan)


def _heard(say: Callable[[str], None]) -> Callable[[str, Path, Completion], None]:
    def heard(role: str, path: Path, reply: Completion) -> None:
        if role == "solve":
            say(f"candidate {path[1]}: sampled, {reply.completion_tokens:,} tokens")

    return heard


def _learned(say: Callable[[str], None]) -> Callable[[Path, bool], None]:
    def learned(path: Path, passed: bool) -> None:
        if len(path) == 2:
            say(f"candidate {path[1]}: {'accepted' if passed else 'not accepted'}")
        else:
            say(
                f"candidate {path[1]}: {_stage(str(path[2]))}, vote {path[3]}: {'yes' if passed else 'not yes'}"
            )

    return learned


def render(solved: Solved) -> str:
    """The verdicts candidate by candidate, then the answer. Y is yes, N no, ? a vote that stayed invalid."""
    parts = [part for judged in solved.judged for part in _candidate(judged)]
    index = solved.answer.index
    if solved.valid:
        parts.append(f"\nanswer: candidate {index}, the first that its own author accepts\n")
    else:
        parts.append(f"\nanswer: candidate {index}, NOT VERIFIED: no candidate was accepted\n")
    return "\n".join([*parts, solved.answer.answer or solved.answer.completion.text])


def summary(solved: Solved) -> dict[str, Any]:
    """The verdicts and the answer, for a program to read."""
    return {
        "question": solved.seed.question,
        "answer": solved.answer.answer,
        "candidate": solved.answer.index,
        "valid": solved.valid,
        "candidates": [
            {
                "index": one.candidate.index,
                "outcome": one.verdict.outcome,
                "rejected_by": one.verdict.rejected_by,
                "votes": [
                    {"stage": v.stage, "index": v.index, "ballot": v.ballot} for v in one.verdict.votes
                ],
                "text": one.candidate.completion.text,
            }
            for one in solved.judged
        ],
    }


def _candidate(judged: Judged) -> list[str]:
    verdict = judged.verdict
    by = f" ({_stage(verdict.rejected_by)})" if verdict.rejected_by else ""
    lines = [f"candidate {judged.candidate.index}: {verdict.outcome}{by}"]
    stages: dict[str, list[Vote]] = {}
    for vote in verdict.votes:
        stages.setdefault(vote.stage, []).append(vote)
    for stage, votes in stages.items():
        lines.append(f"  {_stage(stage):18} {' '.join(_MARKS[vote.ballot] for vote in votes)}")
    return lines


def _stage(name: str) -> str:
    return name.replace("_", " ")
