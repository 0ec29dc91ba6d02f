"""How well a lab model solves and judges: sampled candidates, all votes, the cascade's precision and recall.

A quick measurement beside the real thing (`veridistill run`, benchmarks/lab.py): everything is asked,
nothing is journalled.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from veridistill.decide import split
from veridistill.lab.texts import number_in, prompt
from veridistill.lab.tokenizer import render
from veridistill.lab.world import HARD, Mix, Question, Split, take

Ask: TypeAlias = Callable[[Sequence[str], float], list[str]]
"""From prompts and a temperature to replies."""


@dataclass(frozen=True)
class StageFigures:
    """Share of single votes that are yes, and of unanimous stages, on right and on wrong candidates."""

    vote_right: float
    vote_wrong: float
    stage_right: float
    stage_wrong: float


@dataclass(frozen=True)
class Figures:
    """One measurement; shares of 1, invalid votes counted as not yes."""

    num_questions: int
    pass_at_1: float
    accepted: float
    precision: float
    recall: float
    stages: dict[str, StageFigures]


def sampler(directory: Path, batch: int = 128, max_new_tokens: int = 128) -> Ask:
    """Replies by `generate` of transformers, at top_p 0.95; a truncated one is empty."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)

    def replies(prompts: Sequence[str], temperature: float) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(prompts), batch):
            chunk = [render(one) for one in prompts[start : start + batch]]
            inputs = tokenizer(chunk, return_tensors="pt", padding=True)
            out = model.generate(
                **inputs,
                do_sample=True,
                temperature=temperature,
                top_p=0.95,
                top_k=0,
                max_new_tokens=max_new_tokens,
            )
            ids = out[:, inputs["input_ids"].shape[1] :].tolist()
            texts += (_until_stop(tokenizer.decode(row)) for row in ids)
        return texts

    return replies


def _until_stop(text: str) -> str:
    reply, stop, _ = text.partition("<|im_end|>")
    return reply if stop else ""


def _votes(
    ask: Ask, questions: list[Question], answers: list[str], votes: int
) -> dict[str, list[list[bool]]]:
    """For each stage, for each candidate, each vote; judges at temperature 0.6."""

    def ballots(stage: str, extra: list[dict[str, str]]) -> list[list[bool]]:
        replies = ask([prompt(stage, **values) for values in extra for _ in range(votes)], 0.6)
        yes = [split(reply).answer.endswith("[[Y]]") for reply in replies]
        return [yes[i : i + votes] for i in range(0, len(yes), votes)]

    inferred = ask([prompt("infer", answer=answer) for answer in answers for _ in range(votes)], 0.6)
    compared = ask(
        [
            prompt("compare", question=questions[index // votes].text, inferred=split(reply).answer)
            for index, reply in enumerate(inferred)
        ],
        0.6,
    )
    yes = [split(reply).answer.endswith("[[Y]]") for reply in compared]
    shown = [{"question": q.text, "answer": answer} for q, answer in zip(questions, answers, strict=True)]
    return {
        "cycle_consistency": [yes[i : i + votes] for i in range(0, len(yes), votes)],
        "factuality": ballots("factuality", shown),
        "correctness": ballots("correctness", shown),
    }


def _stage(votes: list[list[bool]], right: list[bool]) -> StageFigures:
    def share(values: list[bool]) -> float:
        return round(sum(values) / max(1, len(values)), 3)

    def of(kind: bool) -> list[list[bool]]:
        return [v for v, r in zip(votes, right, strict=True) if r is kind]

    single = [share([vote for one in of(kind) for vote in one]) for kind in (True, False)]
    unanimous = [share([all(one) for one in of(kind)]) for kind in (True, False)]
    return StageFigures(single[0], single[1], unanimous[0], unanimous[1])


def measure(
    directory: Path, *, num: int = 64, votes: int = 3, mix: Mix = HARD, part: Split = "seeds", seed: int = 0
) -> Figures:
    """One candidate per question at temperature 0.8, then all votes of all stages."""
    import torch

    torch.manual_seed(seed)
    ask = sampler(directory)
    questions = take(num, seed, mix, part)
    answers = [
        split(reply).answer for reply in ask([prompt("solve_math", question=q.text) for q in questions], 0.8)
    ]
    right = [number_in(answer) == q.x for q, answer in zip(questions, answers, strict=True)]
    formed = [index for index, answer in enumerate(answers) if number_in(answer) is not None]
    kept_right = [right[i] for i in formed]
    stages = _votes(ask, [questions[i] for i in formed], [answers[i] for i in formed], votes)
    accepted = [all(map(all, per_stage)) for per_stage in zip(*stages.values(), strict=True)]
    good = sum(a and r for a, r in zip(accepted, kept_right, strict=True))
    return Figures(
        num_questions=num,
        pass_at_1=round(sum(right) / num, 3),
        accepted=round(sum(accepted) / num, 3),
        precision=round(good / max(1, sum(accepted)), 3),
        recall=round(good / max(1, sum(right)), 3),
        stages={stage: _stage(votes, kept_right) for stage, votes in stages.items()},
    )


def main() -> None:
    """`python -m veridistill.lab.skills MODEL [NUM] [VOTES] [SHARE_OF_FOUR_DIGIT_ANSWERS]`."""
    import sys

    share = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    mix = Mix(answer=(0.0, 0.15 * (1 - share), 0.85 * (1 - share), share), addend=HARD.addend)
    num, votes = (int(value) for value in (sys.argv[2:4] if len(sys.argv) > 3 else (64, 3)))
    print(json.dumps(asdict(measure(Path(sys.argv[1]), num=num, votes=votes, mix=mix)), indent=1))


if __name__ == "__main__":
    main()
