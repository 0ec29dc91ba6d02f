"""What a build counted: how many candidates came how far. Pure; fed one question at a time, in any order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from veridistill.method import Distilled, Judged


@dataclass
class Funnel:
    """Counts over a build. A stage counts the candidates that no vote of this or an earlier stage ended."""

    stages: Sequence[str]
    seeds: int = 0
    kept: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    ended_by: Counter[str] = field(default_factory=Counter)
    votes: dict[str, Counter[str]] = field(default_factory=dict)
    questions_kept: int = 0

    def add(self, distilled: Distilled) -> None:
        self.seeds += 1
        self.kept += len(distilled.kept)
        self.questions_kept += bool(distilled.kept)
        for judged in distilled.judged:
            self._add_candidate(judged)

    def _add_candidate(self, judged: Judged) -> None:
        verdict = judged.verdict
        self.outcomes[verdict.outcome] += 1
        if verdict.outcome == "malformed":
            self.defects[str(verdict.rejected_by)] += 1
        elif verdict.rejected_by:
            self.ended_by[verdict.rejected_by] += 1
        for vote in verdict.votes:
            self.votes.setdefault(vote.stage, Counter())[vote.ballot] += 1

    @property
    def candidates(self) -> int:
        return self.outcomes.total()

    @property
    def invalid_share(self) -> float:
        """Share of invalid ones among all votes."""
        total = sum(ballots.total() for ballots in self.votes.values())
        return sum(ballots["invalid"] for ballots in self.votes.values()) / total if total else 0.0

    def counts(self) -> dict[str, int]:
        """seeds, candidates, well_formed, one count per stage, kept."""
        left = self.candidates - self.outcomes["malformed"]
        counts = {"seeds": self.seeds, "candidates": self.candidates, "well_formed": left}
        for stage in self.stages:
            left -= self.ended_by[stage]
            counts[stage] = left
        return counts | {"kept": self.kept}

    def ballots(self) -> dict[str, dict[str, int]]:
        """Votes by stage and ballot."""
        return {
            stage: {b: self.votes.get(stage, Counter())[b] for b in ("yes", "no", "invalid")}
            for stage in self.stages
        }
