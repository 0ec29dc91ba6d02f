"""One seed question in full: its candidates, and every vote on them with what the judges said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from veridistill.data.rundir import RunDir
from veridistill.data.tables import CANDIDATES, SEEDS, VOTES, CandidateRow, VoteRow
from veridistill.decide import Split, split
from veridistill.records import Seed
from veridistill.view import asked, replies, rounds
from veridistill.view.items import Fate, Item
from veridistill.view.replies import Known, Reply
from veridistill.view.rounds import Models, Source

Seeds = Mapping[str, tuple[int, Seed]]


class Changed(Exception):
    """The tables are not those that the index was made of: it is about to be made again."""


@dataclass(frozen=True, slots=True)
class CastVote:
    """A vote. `ballot` is `open` while it has none; `replies` are those behind it, in order."""

    stage: str
    index: int
    ballot: str
    reason: str
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate as it was sampled, in two parts, with its votes."""

    fate: Fate
    parts: Split
    finish_reason: str
    tokens: int
    votes: tuple[CastVote, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """`journal`: whether the replies could be read; without it the votes have no words."""

    seed: Seed
    candidates: tuple[Candidate, ...]
    journal: bool


def read(run: RunDir, source: Source, item: Item, seeds_of_run: Callable[[], Seeds]) -> Question:
    """`seeds_of_run` is asked while the round is being built.

    Raises `Changed` when the files were replaced, and `ConfigError` when one cannot be read.
    """
    models = rounds.models(run, source.round)
    known = replies.of_unit(run, item.key, models)
    if source.live:
        return _asked(run, item, known, models, seeds_of_run())
    seeds, candidates, votes = source.files
    asked_seeds = list(SEEDS.slice(seeds, *item.place["seeds"]))
    if [seed.seed_id for seed in asked_seeds] != [item.key]:
        raise Changed
    rows = list(CANDIDATES.slice(candidates, *item.place["candidates"]))
    cast = list(VOTES.slice(votes, *item.place["votes"]))
    if ({row.seed_id for row in rows} | {vote.seed_id for vote in cast}) - {item.key}:
        raise Changed
    judged = tuple(_judged(row, cast, known, models.reasons) for row in rows)
    return Question(asked_seeds[0], judged, bool(known))


def _judged(row: CandidateRow, cast: list[VoteRow], known: Known, reasons: bool) -> Candidate:
    votes = tuple(
        CastVote(
            vote.stage,
            vote.index,
            vote.ballot,
            vote.reason,
            tuple(replies.of_vote(known, row.seed_id, row.index, vote.stage, vote.index, reasons)),
        )
        for vote in cast
        if vote.candidate == row.index
    )
    fate = Fate(row.index, row.outcome, row.rejected_by, row.kept)
    return Candidate(fate, split(row.text), row.finish_reason, row.completion_tokens, votes)


def _asked(run: RunDir, item: Item, known: Known, models: Models, seeds: Seeds) -> Question:
    seed = seeds[item.key][1] if item.key in seeds else Seed(item.key, asked.UNKNOWN)
    found = []
    for one in asked.candidates(known, seed, run.config, models.reasons):
        reply = one.solution.completion
        votes = tuple(
            CastVote(
                vote.stage,
                vote.index,
                vote.vote.ballot if vote.vote else asked.OPEN,
                vote.vote.reason if vote.vote else "",
                vote.replies,
            )
            for vote in one.votes
        )
        found.append(
            Candidate(one.fate, split(reply.text), reply.finish_reason, reply.completion_tokens, votes)
        )
    return Question(seed, tuple(found), True)
