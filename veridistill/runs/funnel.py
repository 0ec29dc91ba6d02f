"""Counts over a build: candidates by stage and outcome, and the audit of the judges.

Pure; fed one question at a time, in any order.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from veridistill.audit.shares import Clustered
from veridistill.method import Plan
from veridistill.records import Domain, Verdict, Vote
from veridistill.runs.canaries import Canaries
from veridistill.runs.found import Found


@dataclass(slots=True)
class StageCounts:
    """Well-formed candidates on which one stage voted, those that passed all of its votes, and those that it ended.

    The rest of `asked` is candidates that another stage ended, before this stage had all its votes or although this
    stage also had a vote that was not yes.
    """

    asked: int = 0
    passed: int = 0
    ended: int = 0


@dataclass
class Funnel:
    """Counts over a build. `stages` are those that decide, `num_votes` the votes that a candidate needs from each."""

    stages: Sequence[str]
    num_votes: int
    seeds: int = 0
    kept: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    by_stage: dict[str, StageCounts] = field(default_factory=lambda: defaultdict(StageCounts))
    votes: dict[str, Counter[str]] = field(default_factory=dict)
    questions_kept: int = 0

    def add(self, found: Found) -> None:
        self.seeds += 1
        self.kept += len(found.kept)
        self.questions_kept += bool(found.kept)
        for verdict in found.verdicts:
            self._add_candidate(verdict)

    def _add_candidate(self, verdict: Verdict) -> None:
        self.outcomes[verdict.outcome] += 1
        if verdict.outcome == "malformed":
            self.defects[str(verdict.rejected_by)] += 1
            return
        for stage in self.stages:
            self._add_stage(stage, verdict)
        for vote in verdict.votes:
            self.votes.setdefault(vote.stage, Counter())[vote.ballot] += 1

    def _add_stage(self, stage: str, verdict: Verdict) -> None:
        votes, counts = _votes_of(stage, verdict), self.by_stage[stage]
        counts.asked += bool(votes)
        counts.passed += sum(vote.passed for vote in votes) == self.num_votes
        counts.ended += verdict.rejected_by == stage

    @property
    def candidates(self) -> int:
        return self.outcomes.total()

    @property
    def invalid_share(self) -> float:
        """Share of all votes that are invalid."""
        votes = [self.votes[stage] for stage in self.stages if stage in self.votes]
        total = sum(ballots.total() for ballots in votes)
        return sum(ballots["invalid"] for ballots in votes) / total if total else 0.0

    def counts(self) -> dict[str, Any]:
        """seeds, candidates, well_formed, stages (by name: asked, passed, ended), kept."""
        return {
            "seeds": self.seeds,
            "candidates": self.candidates,
            "well_formed": self.candidates - self.outcomes["malformed"],
            "stages": {stage: asdict(self.by_stage[stage]) for stage in self.stages},
            "kept": self.kept,
        }

    def ballots(self) -> dict[str, dict[str, int]]:
        """Votes by stage and ballot."""
        return {
            stage: {b: self.votes.get(stage, Counter())[b] for b in ("yes", "no", "invalid")}
            for stage in self.stages
        }


@dataclass(slots=True)
class StageTally:
    """What one stage did: candidates that passed it, candidates whose votes agree, invalid votes."""

    passed: Clustered = field(default_factory=Clustered)
    agreed: Clustered = field(default_factory=Clustered)
    votes: int = 0
    invalid: int = 0

    def add(self, candidates: Iterable[Sequence[Vote]]) -> None:
        """The votes of each candidate of one question that this stage was asked about."""
        asked = [votes for votes in candidates if votes]
        several = [votes for votes in asked if len(votes) > 1]
        self.passed.add(sum(all(vote.passed for vote in votes) for votes in asked), len(asked))
        self.agreed.add(sum(len({vote.ballot for vote in votes}) == 1 for votes in several), len(several))
        self.votes += sum(len(votes) for votes in asked)
        self.invalid += sum(vote.ballot == "invalid" for votes in asked for vote in votes)

    def summary(self) -> dict[str, Any]:
        passed = self.passed.share
        return {
            "pass_rate": passed.rate,
            "low": passed.low,
            "high": passed.high,
            "agreement": self.agreed.share.rate,
            "invalid_rate": self.invalid / self.votes if self.votes else None,
            "candidates": self.passed.size,
        }


@dataclass
class Tally:
    """What the judges decided on some questions, from the votes that were asked."""

    questions: int = 0
    candidates: int = 0
    accepted: Clustered = field(default_factory=Clustered)
    stages: dict[str, StageTally] = field(default_factory=lambda: defaultdict(StageTally))

    def add(self, found: Found, stages: Iterable[str]) -> None:
        verdicts = [verdict for verdict in found.verdicts if verdict.outcome != "skipped"]
        self.questions += 1
        self.candidates += len(verdicts)
        self.accepted.add(sum(verdict.passed for verdict in verdicts), len(verdicts))
        for stage in stages:
            self.stages[stage].add(_votes_of(stage, verdict) for verdict in verdicts)

    def summary(self) -> dict[str, Any]:
        return {
            "questions": self.questions,
            "candidates": self.candidates,
            "acceptance": asdict(self.accepted.share),
            "stages": {stage: tally.summary() for stage, tally in self.stages.items()},
        }


@dataclass
class Audit:
    """Unbiased statistics although votes stop early: figures of the questions that were asked exhaustively.

    Those were chosen by hash before anything was known about them, so their shares estimate those of all questions
    without bias. `censored` are the same figures of all questions, from the votes that were needed: biased.
    """

    stages: Sequence[str]
    audited: Tally = field(default_factory=Tally)
    censored: Tally = field(default_factory=Tally)

    def add(self, found: Found) -> None:
        self.censored.add(found, self.stages)
        if found.audited:
            self.audited.add(found, self.stages)

    def summary(self) -> dict[str, Any] | None:
        """None when no question was audited."""
        if not self.audited.questions:
            return None
        return self.audited.summary() | {"censored": self.censored.summary()}


@dataclass
class Counts:
    """All that a build counts, of all questions and by domain.

    Fed in the seeds' order, so that a build that stops at its target counts the questions up to there.
    """

    funnel: Funnel
    domains: dict[Domain, Funnel]
    audit: Audit
    canaries: Canaries = field(default_factory=Canaries)

    @classmethod
    def of(cls, plan: Plan, domains: Iterable[Domain]) -> "Counts":
        return cls(
            Funnel(plan.stages, plan.votes),
            {name: Funnel(plan.stages, plan.votes) for name in domains},
            Audit((*plan.stages, *plan.extra_stages)),
        )

    def add(self, found: Found) -> None:
        self.funnel.add(found)
        self.domains[found.seed.domain].add(found)
        self.audit.add(found)
        for planted in found.planted:
            self.canaries.add(planted)


def _votes_of(stage: str, verdict: Verdict) -> list[Vote]:
    return [vote for vote in verdict.votes if vote.stage == stage]
