"""The counts of a build, and the audit: unbiased where the lazily asked votes are not."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.harness import STAGES, distil_all, fast_directory, kept, make_plan, make_seeds
from veridistill.audit.shares import Clustered
from veridistill.calls.ask import audited
from veridistill.config import BuildSection
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.method import Distilled, Judged, Plan
from veridistill.records import Ballot, Candidate, Completion, Outcome, Verdict, Vote
from veridistill.runs.found import Found
from veridistill.runs.funnel import Audit, Funnel

PLAN = make_plan(4, 3)
SCRIPT = Script(invalid=0.1)


def build(section: BuildSection, num: int, plan: Plan = PLAN) -> list[Distilled]:
    with fast_directory() as folder:
        engine = ScriptedEngine(SCRIPT)
        return asyncio.run(
            distil_all(engine, Path(folder) / "journal", plan, make_seeds(num), build=section)
        )[0]


def audit_of(found: Sequence[Distilled], share: float, stages: Sequence[str] = STAGES) -> Audit:
    audit = Audit(stages)
    for distilled in found:
        audit.add(Found.of(distilled, audited(distilled.seed.seed_id, share)))
    return audit


def test_what_is_kept_does_not_depend_on_the_audit() -> None:
    shares = (0.0, 0.3, 1.0)
    sets = [kept(build(BuildSection(audit_share=share, speculation="off"), 60)) for share in shares]
    assert all(one == other for one, other in pairwise(sets))


def test_audited_questions_are_asked_exhaustively_and_known_beforehand() -> None:
    found = build(BuildSection(audit_share=0.3, speculation="off"), 60)
    chosen = [d for d in found if audited(d.seed.seed_id, 0.3)]
    assert 8 <= len(chosen) <= 30
    for distilled in chosen:
        assert len(distilled.judged) == PLAN.candidates
        well_formed = [j for j in distilled.judged if j.verdict.outcome != "malformed"]
        assert all(len(j.verdict.votes) == PLAN.votes * len(STAGES) for j in well_formed)


def test_the_audit_equals_the_exhaustive_figures_of_its_questions() -> None:
    """Unbiased: what the audit sees of a question is what asking everything sees of it."""
    lazy = audit_of(build(BuildSection(audit_share=0.3, speculation="off"), 60), 0.3)
    whole = audit_of(build(BuildSection(asks="exhaustive", audit_share=0), 60), 0.3)
    assert lazy.audited.summary() == whole.audited.summary()


def test_what_is_asked_lazily_is_biased_and_the_audit_is_not() -> None:
    """Under the paper's order, only candidates that passed the first stages are put before the last."""
    whole = audit_of(build(BuildSection(asks="exhaustive"), 250), 0.4).censored.summary()["stages"]
    audit = audit_of(
        build(BuildSection(audit_share=0.4, order="paper", speculation="off"), 250), 0.4
    ).summary()
    assert audit is not None
    truth = whole["correctness"]["pass_rate"]
    found = audit["stages"]["correctness"]
    assert found["low"] < truth < found["high"]
    lazy = audit_of(build(BuildSection(audit_share=0, order="paper", speculation="off"), 250), 0.0).censored
    assert lazy.summary()["stages"]["correctness"]["pass_rate"] > truth + 0.15


def test_extra_stages_are_audited_and_have_no_say() -> None:
    section = BuildSection(audit_share=0.3, speculation="off", order="paper")
    with_simple = replace(PLAN, extra_stages=("simple",))
    found = build(section, 40, with_simple)
    assert kept(found) == kept(build(section, 40))
    summary = audit_of(found, 0.3, (*STAGES, "simple")).summary()
    assert summary is not None
    assert summary["stages"]["simple"]["candidates"] == summary["stages"]["factuality"]["candidates"]
    funnel, plain = Funnel(STAGES, PLAN.votes), Funnel(STAGES, PLAN.votes)
    for distilled in found:
        funnel.add(Found.of(distilled))
    for distilled in build(section, 40):
        plain.add(Found.of(distilled))
    assert funnel.counts() == plain.counts()
    assert funnel.invalid_share == plain.invalid_share


def counted(found: Sequence[Distilled]) -> Funnel:
    funnel = Funnel(STAGES, PLAN.votes)
    for distilled in found:
        funnel.add(Found.of(distilled))
    return funnel


BALLOTS: dict[str, Ballot] = {"y": "yes", "n": "no", "?": "invalid"}


def judged(index: int, outcome: Outcome, ended_by: str | None, **ballots: str) -> Judged:
    """A candidate with its votes by stage, one letter a vote."""
    votes = tuple(
        Vote(stage, number, BALLOTS[letter])
        for stage, letters in ballots.items()
        for number, letter in enumerate(letters)
    )
    verdict = Verdict("q", index, outcome, ended_by, votes)
    return Judged(Candidate("q", index, "", Completion("", "stop", 1, 1)), verdict)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (judged(0, "malformed", "truncated"), [(0, 0, 0)] * 3),
        (judged(0, "skipped", None), [(0, 0, 0)] * 3),
        (
            judged(0, "accepted", None, cycle_consistency="yyy", factuality="yyy", correctness="yyy"),
            [(1, 1, 0)] * 3,
        ),
        # The cheapest stage first: it ends the candidate, and the others were never asked.
        (judged(0, "rejected", "factuality", factuality="n"), [(0, 0, 0), (1, 0, 1), (0, 0, 0)]),
        # A stage that was asked in part has neither passed the candidate nor ended it.
        (
            judged(0, "rejected", "correctness", factuality="yyy", cycle_consistency="y", correctness="yn"),
            [(1, 0, 0), (1, 1, 0), (1, 0, 1)],
        ),
        (judged(0, "unjudged", "factuality", factuality="y?"), [(0, 0, 0), (1, 0, 1), (0, 0, 0)]),
        # Asked exhaustively, two stages say no: the first of them ended it.
        (
            judged(
                0,
                "rejected",
                "cycle_consistency",
                cycle_consistency="nyy",
                factuality="yyn",
                correctness="yyy",
            ),
            [(1, 0, 1), (1, 0, 0), (1, 1, 0)],
        ),
    ],
)
def test_a_stage_counts_what_it_was_asked_passed_and_ended(
    one: Judged, expected: list[tuple[int, int, int]]
) -> None:
    funnel = counted([Distilled(make_seeds(1)[0], (one,), ())])
    stages = funnel.counts()["stages"]
    assert list(stages) == list(STAGES)
    assert [tuple(counts.values()) for counts in stages.values()] == expected


@pytest.mark.parametrize("order", ["cheapest", "paper"])
def test_no_stage_passes_what_it_was_not_asked(order: str) -> None:
    lazy = counted(build(BuildSection(audit_share=0, order=order, speculation="off"), 120))
    whole = counted(build(BuildSection(asks="exhaustive", order=order), 120))
    for funnel in (lazy, whole):
        counts = funnel.counts()
        accepted = funnel.outcomes["accepted"]
        for stage in counts["stages"].values():
            assert accepted <= stage["passed"]
            assert stage["passed"] + stage["ended"] <= stage["asked"] <= counts["well_formed"]
        ended = sum(stage["ended"] for stage in counts["stages"].values())
        assert ended == funnel.outcomes["rejected"] + funnel.outcomes["unjudged"]
    stages = lazy.counts()["stages"]
    assert min(stage["asked"] for stage in stages.values()) < lazy.counts()["well_formed"]
    assert {stage["asked"] for stage in whole.counts()["stages"].values()} == {whole.counts()["well_formed"]}


def test_without_audited_questions_there_is_no_audit() -> None:
    assert audit_of(build(BuildSection(audit_share=0, speculation="off"), 3), 0.0).summary() is None


def clustered(*questions: tuple[int, int]) -> Clustered:
    found = Clustered()
    for hits, size in questions:
        found.add(hits, size)
    return found


@pytest.mark.parametrize(
    ("questions", "effective"),
    [
        ([(8, 8)] * 5, 5),  # nothing is seen of the variance: a candidate for each question
        ([(0, 8)] * 5, 5),
        ([(4, 8)] * 5, 5),
        ([(8, 8), (0, 8)] * 50, 99),  # candidates of a question are all alike: they count as one
        ([(1, 1), (0, 1)] * 50, 99),  # one candidate a question: simple random sampling
        ([(1, 8)], 1),
    ],
)
def test_the_effective_number_of_candidates(questions: list[tuple[int, int]], effective: float) -> None:
    assert clustered(*questions)._effective_size() == pytest.approx(effective)


def test_candidates_of_one_question_do_not_narrow_the_interval() -> None:
    alike = clustered(*[(8, 8), (0, 8)] * 50).share
    single = clustered(*[(1, 1), (0, 1)] * 50).share
    assert (alike.low, alike.high) == pytest.approx((single.low, single.high))


def test_no_candidates_no_share() -> None:
    assert clustered((0, 0)).share.rate is None
