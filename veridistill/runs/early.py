"""Stops a build after its first questions when most of its judges' votes are invalid, instead of after hours.

The first questions are those of the seeds' order, not those that end first: so a build that was killed and resumed
comes to the same decision. What is said of it comes from the journal, where the replies stay: with a higher
`quality.max_invalid` the same command goes on from there. A finished build is `quality`'s.
"""

from dataclasses import dataclass

from veridistill.calls.ask import Replies
from veridistill.decide import CUT, NO_REFERENCE
from veridistill.records import Verdict, Vote
from veridistill.runs.found import Found

FIRST = 20
"""Questions after which a build is looked at, once."""
_MOST = 0.5
_SHOWN = 160  # characters of a reply's end
_EXAMPLES = 2


@dataclass(frozen=True, slots=True)
class Example:
    """An invalid vote: its stage, the reason, and the end of the judge's reply."""

    stage: str
    reason: str
    end: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was found in the first `questions`; `truncated` of the `invalid` votes are of replies that were cut."""

    questions: int
    votes: int
    invalid: int
    truncated: int
    examples: tuple[Example, ...]

    def message(self, limit: float) -> str:
        shown = "".join(f'\n  {one.stage}, {one.reason}: "{one.end}"' for one in self.examples)
        cut = (
            f", a larger judge.max_tokens ({self.truncated} of these votes are of truncated replies)"
            if self.truncated
            else ""
        )
        return (
            f"stopped after the first {self.questions} questions: {self.invalid} of {self.votes} votes are invalid,"
            f" above quality.max_invalid={limit:g}. Replies of judges that give no verdict end so:{shown}\n"
            f"In a new run directory, try other prompts (prompts=instruct, prompts=thinking, or a directory of your"
            f" own){cut}, or a stronger judge.model. To go on from here: quality.max_invalid=1"
        )


class Early:
    """Fed a build's questions in their order. `stages` are those that decide, `limit` is `quality.max_invalid`."""

    def __init__(self, stages: tuple[str, ...], limit: float, replies: Replies) -> None:
        self._stages, self._limit, self._replies = stages, limit, replies
        self._questions = self._votes = 0
        self._invalid: list[tuple[Verdict, Vote]] = []

    async def add(self, found: Found) -> Stopped | None:
        """At the last of the first questions, what was found, if most of their votes are invalid; else None."""
        if self._questions == FIRST:
            return None
        self._questions += 1
        for verdict in found.verdicts:
            cast = self._first_cast(verdict)
            self._votes += len(cast)
            self._invalid += [(verdict, vote) for vote in cast if vote.ballot == "invalid"]
        if self._questions < FIRST or len(self._invalid) <= max(self._limit, _MOST) * self._votes:
            return None
        return await self._described(self._invalid)

    def _first_cast(self, verdict: Verdict) -> list[Vote]:
        """In the stages' order, the votes that were cast, up to the first that is not yes.

        A resumed build casts exactly these again: in that order it takes what the journal holds.
        """
        cast = [vote for vote in verdict.votes if vote.stage in self._stages]
        cast.sort(key=lambda vote: (self._stages.index(vote.stage), vote.index))
        ended = next((place for place, vote in enumerate(cast, 1) if not vote.passed), len(cast))
        return cast[:ended]

    async def _described(self, invalid: list[tuple[Verdict, Vote]]) -> Stopped:
        examples = tuple([await self._example(*one) for one in _unlike(invalid)])
        cut = sum(vote.reason.startswith(CUT) for _, vote in invalid)
        return Stopped(self._questions, self._votes, len(invalid), cut, examples)

    async def _example(self, verdict: Verdict, vote: Vote) -> Example:
        # A reference solution is shared by the candidates of a question.
        whose = "reference" if vote.reason == NO_REFERENCE else verdict.candidate
        place = (verdict.seed_id, whose, vote.stage, vote.index)
        replies = [
            entry.completion.text
            for entry in (await self._replies.replies(verdict.seed_id)).values()
            if entry.path[:4] == place and entry.role != "verdict" and entry.status == "ok"
        ]
        end = " ".join(replies[-1].split())[-_SHOWN:] if replies else ""
        return Example(vote.stage, vote.reason, end)


def _unlike(invalid: list[tuple[Verdict, Vote]]) -> list[tuple[Verdict, Vote]]:
    """A few to show: of different stages where there are such."""
    by_stage = {vote.stage: (verdict, vote) for verdict, vote in reversed(invalid)}
    first = list(by_stage.values())[::-1]
    return (first + [one for one in invalid if one not in first])[:_EXAMPLES]
