"""Test-time cascade (UQ-TTC) on exam problems, beside three baselines that use the same replies.

    candidate_0       the first sample, unjudged: pass@1
    uq_ttc            the first candidate that its own author accepts, else candidate 0 (`method.solve`)
    self_consistency  the most frequent final answer of all n candidates, unjudged
    best_by_votes     the candidate with the most yes votes, every vote asked

The last two need all candidates or all votes, so they are compared only if everything is asked (`build.asks:
exhaustive`). Each method's cost is what it would have asked alone. Calls go through the one path to a model, so a
comparison resumes as an exam does. `grading` grades the answers.
"""

from collections.abc import AsyncGenerator, Hashable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Literal, get_args

from veridistill.audit.shares import wilson
from veridistill.calls.ask import Asker
from veridistill.calls.watch import watched
from veridistill.evaluation.statistics import Question, mean_gain, most_frequent
from veridistill.grading import graders as grading
from veridistill.grading.compare import answers as final
from veridistill.grading.compare import expressions, latex, quantities, reading
from veridistill.grading.graders import Graders
from veridistill.lazy import Ask
from veridistill.method import Judged, Plan, Solved, solve
from veridistill.records import Attempt, Completion, Grade, Kind, Path, Problem, Seed

Method = Literal["candidate_0", "uq_ttc", "self_consistency", "best_by_votes"]
Asked = Literal["lazily", "exhaustively"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, slots=True)
class Cost:
    """Calls that were answered, and their tokens."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """One method's answer to a problem: which candidate, its grade, and what the method alone would have cost."""

    candidate: int
    grade: Grade
    cost: Cost


@dataclass(frozen=True, slots=True)
class Answered:
    """A problem with each method's answer; `answers` lacks methods whose replies were not asked for (lazy runs).

    `valid`: whether a candidate was accepted. `reply` is the one that `uq_ttc` answers with, without token ids; the
    others are not kept, since a thousand problems of eight long candidates are a gigabyte.
    """

    problem: Problem
    valid: bool
    reply: Completion
    answers: dict[Method, Answer]

    @property
    def unreadable(self) -> bool:
        """Whether the problem's reference cannot be read, as the grade of one method shows."""
        return any(answer.grade.outcome == "unreadable_reference" for answer in self.answers.values())

    def attempt(self) -> Attempt:
        """The answer of `uq_ttc` as an exam's record; its index is the candidate's."""
        answer = self.answers["uq_ttc"]
        return grading.attempt(self.problem, answer.candidate, self.reply, answer.grade)

    def without_text(self) -> "Answered":
        """What `summary` needs: the same without the reply's text."""
        return replace(self, reply=replace(self.reply, text=""))


Calls = dict[tuple[str, Path], Completion]
"""Every reply by role and path."""


async def run_ttc(
    problems: Sequence[Problem], plan: Plan, asker: Asker, graders: Graders
) -> AsyncGenerator[Answered, None]:
    """Each problem answered by the cascade, in the order of the problems.

    Raises `ConfigError` before anything is asked when `graders` cannot grade one of the problems.
    """
    await graders.prepare(problems)

    async def work(problem: Problem, ask: Ask) -> Answered:
        return await _answered(problem, replace(plan, extra_stages=()), ask, graders)

    async with aclosing(asker.map_units(problems, unit_name, work)) as stream:
        async for answered in stream:
            yield answered


def unit_name(problem: Problem) -> str:
    """The name of a problem in the journal; the exam uses another, so that neither reads the other's replies."""
    return f"ttc/{problem.benchmark}/{problem.problem_id}"


async def _answered(problem: Problem, plan: Plan, ask: Ask, graders: Graders) -> Answered:
    calls: Calls = {}
    # The question holds its options, so judges see them as solvers do.
    seed = Seed(unit_name(problem), problem.question, problem.domain, problem.benchmark)
    solved = await solve(
        seed, watched(ask, lambda role, path, reply: calls.update({(role, path): reply})), plan
    )
    asked: Asked = "exhaustively" if ask.exhaustive else "lazily"
    chosen = choose(problem, solved, asked)
    grades = {}
    for index in sorted(set(chosen.values())):
        reply = next(j.candidate for j in solved.judged if j.candidate.index == index).completion
        refused = reply.finish_reason == "refused"
        grades[index] = await (graders.refused(problem) if refused else graders.grade(problem, reply.text))
    costs = _costs(solved, calls, asked)
    answers = {method: Answer(index, grades[index], costs[method]) for method, index in chosen.items()}
    reply = replace(solved.answer.completion, token_ids=None, prompt_token_ids=None)
    return Answered(problem, solved.valid, reply, answers)


# --- which candidate answers ----------------------------------------------------------------------------------


def choose(problem: Problem, solved: Solved, asked: Asked) -> dict[Method, int]:
    """The index of each method's candidate."""
    chosen: dict[Method, int] = {"candidate_0": 0, "uq_ttc": solved.answer.index}
    if asked == "exhaustively":
        chosen["self_consistency"] = majority(problem, solved.judged)
        chosen["best_by_votes"] = most_votes(solved.judged)
    return chosen


def majority(problem: Problem, judged: Sequence[Judged]) -> int:
    """The first candidate that gives the most frequent final answer; candidate 0 when none gives any."""
    answers = [final.final_answer(problem, one.candidate.answer) for one in judged]
    place = most_frequent([form(problem.kind, answer) for answer in answers])
    return judged[place or 0].candidate.index


def form(kind: Kind, answer: str | None) -> Hashable | None:
    """What two final answers of a kind have in common when they count as the same vote; None for no answer.

    Text and plain numbers are compared: formulas that only algebra shows to be equal, and programs that do the same,
    count as different.
    """
    if answer is None or not answer.strip():
        return None
    if kind == "choice":
        return reading.choice(answer) or answer.strip()
    if kind in ("integer", "math"):
        plain, whole = latex.plain(answer), reading.integer(answer)
        number = expressions.number(answer) or expressions.number(plain)
        value = whole if whole is not None else number and number.value
        return value if value is not None else plain or answer.strip()
    if kind == "quantity":
        return quantities.form(answer) or answer.strip()
    return " ".join(answer.casefold().split()) if kind == "exact" else answer.strip()


def most_votes(judged: Sequence[Judged]) -> int:
    """The candidate with the most yes votes; in a tie a well-formed one, then the first."""

    def rank(one: Judged) -> tuple[int, bool, int]:
        yes = sum(vote.passed for vote in one.verdict.votes)
        return yes, one.verdict.outcome != "malformed", -one.candidate.index

    return max(judged, key=rank).candidate.index


# --- what it costs --------------------------------------------------------------------------------------------


def _costs(solved: Solved, calls: Calls, asked: Asked) -> dict[Method, Cost]:
    by_branch: dict[Path, Cost] = {}
    for (_, path), reply in calls.items():
        one = Cost(1, reply.prompt_tokens, reply.completion_tokens)
        by_branch[path[:4]] = by_branch.get(path[:4], Cost()) + one
    samples = [_path(judged) for judged in solved.judged]
    return {
        "candidate_0": by_branch[samples[0]],
        "uq_ttc": _sum([by_branch.get(path, Cost()) for path in _needed(solved, asked)]),
        "self_consistency": _sum([by_branch[path] for path in samples]),
        "best_by_votes": _sum(list(by_branch.values())),
    }


def _needed(solved: Solved, asked: Asked) -> Iterator[Path]:
    """The candidates and votes that the lazy procedure asks, in the paper's order where everything was asked.

    Where asking was lazy, these are the calls whose replies counted. (A shared inference goes with the first vote.)
    """
    for judged in solved.judged:
        yield _path(judged)
        for vote in judged.verdict.votes:
            yield (*_path(judged), vote.stage, vote.index)
            if asked == "exhaustively" and not vote.passed:
                break
        if judged.passed:
            return


def _path(judged: Judged) -> Path:
    return (judged.candidate.seed_id, judged.candidate.index)


def _sum(costs: Sequence[Cost]) -> Cost:
    return sum(costs, Cost())


# --- summary --------------------------------------------------------------------------------------------------


def summary(answered: Sequence[Answered]) -> dict[str, Any]:
    """By method, over all problems and for each benchmark; accuracies and differences in points with 95 % intervals.

    A method is included if every problem has it. Problems whose reference cannot be read are only counted; their
    cost is left out too. Raises ValueError when there are no problems.
    """
    if not answered:
        raise ValueError("a summary needs at least one problem; found none")
    groups: dict[str, list[Answered]] = {}
    for one in answered:
        groups.setdefault(one.problem.benchmark, []).append(one)
    return _part(answered) | {"benchmarks": {name: _part(group) for name, group in groups.items()}}


def _part(answered: Sequence[Answered]) -> dict[str, Any]:
    readable = [one for one in answered if not one.unreadable]
    methods = [method for method in METHODS if readable and all(method in one.answers for one in readable)]
    accepted = [one.answers["uq_ttc"].grade.correct for one in readable if one.valid]
    known = [right for right in accepted if right is not None]
    return {
        "num_problems": len(readable),
        "unreadable_problems": len(answered) - len(readable),
        "accepted": 100 * len(accepted) / len(readable) if readable else None,
        "accepted_right": 100 * fmean(known) if known else None,
        "methods": {method: _of_method(readable, method) for method in methods},
    }


def _of_method(answered: Sequence[Answered], method: Method) -> dict[str, Any]:
    answers = [one.answers[method] for one in answered]
    right = [answer.grade.correct for answer in answers if answer.grade.correct is not None]
    cost = _sum([answer.cost for answer in answers])
    tokens = cost.prompt_tokens + cost.completion_tokens
    interval = wilson(sum(right), len(right)) if right else None
    return {
        "accuracy": 100 * fmean(right) if right else None,
        "low": 100 * interval.low if interval else None,
        "high": 100 * interval.high if interval else None,
        "ungraded": len(answers) - len(right),
        "over_candidate_0": _over_candidate_0(answered, method),
        **asdict(cost),
        "tokens": tokens,
        "calls_per_problem": cost.calls / len(answers),
        "most_calls": max(answer.cost.calls for answer in answers),
        "right_per_1000_tokens": 1000 * sum(right) / tokens if tokens else None,
    }


def _over_candidate_0(answered: Sequence[Answered], method: Method) -> dict[str, Any] | None:
    """None for candidate 0 itself: there is nothing to estimate."""
    if method == "candidate_0":
        return None
    differences: dict[Question, float] = {}
    for one in answered:
        own, first = (one.answers[name].grade.correct for name in (method, "candidate_0"))
        if own is not None and first is not None:
            differences[one.problem.benchmark, one.problem.problem_id] = float(own) - first
    return asdict(mean_gain(differences)) if differences else None


def table(found: dict[str, Any]) -> str:
    """A summary for a terminal."""
    head = ("method", "accuracy", "95 % interval", "calls", "tokens", "right per 1,000 tokens")
    lines = ["{:18} {:>8}  {:15} {:>9} {:>12} {:>22}".format(*head)]
    for name, one in found["methods"].items():
        if one["accuracy"] is None:
            accuracy, interval = "-", ""
        else:
            accuracy, interval = f"{one['accuracy']:.1f}", f"[{one['low']:.1f}, {one['high']:.1f}]"
        rate = "-" if one["right_per_1000_tokens"] is None else f"{one['right_per_1000_tokens']:.3f}"
        lines.append(
            f"{name:18} {accuracy:>8}  {interval:15} {one['calls']:9,} {one['tokens']:12,} {rate:>22}"
        )
    return "\n".join([*lines, _words(found)])


def _words(found: dict[str, Any]) -> str:
    if found["accepted"] is None:
        words = "no problem to compare on"
    else:
        words = f"{found['num_problems']} problems; a candidate was accepted for {found['accepted']:.1f} %"
    if found["accepted_right"] is not None:
        words += f", {found['accepted_right']:.1f} % of them right"
    if found["unreadable_problems"]:
        words += f"; {found['unreadable_problems']} more left out, whose reference cannot be read"
    return words
