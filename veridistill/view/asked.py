"""The questions of a round that is still being built, as far as the journal has them.

What a build has decided is in its tables, which appear at its end. Until then the replies are read as the build reads
them: a candidate whose votes are not all cast is open, and none is called kept.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from veridistill.calls.journal import Entry, Reader
from veridistill.config import Config
from veridistill.data import seeds as seed_files
from veridistill.data.rundir import RunDir
from veridistill.decide import defect, split
from veridistill.domains import DOMAINS
from veridistill.errors import VeridistillError
from veridistill.records import Seed, Vote
from veridistill.view import replies
from veridistill.view.built import Entry as IndexEntry
from veridistill.view.items import QUESTION, Fate, Item, Text, draws, head, question_facets
from veridistill.view.replies import Known, Reply
from veridistill.view.rounds import Models

UNKNOWN = "(The text of this question can be shown once the round's tables are written.)"
OPEN = "open"


@dataclass(frozen=True, slots=True)
class AskedVote:
    """A vote as its replies stand; None before one that votes."""

    vote: Vote | None
    stage: str
    index: int
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class AskedCandidate:
    """A sampled candidate and what was asked about it."""

    fate: Fate
    solution: Entry
    votes: tuple[AskedVote, ...]


def known_seeds(run: RunDir) -> Mapping[str, tuple[int, Seed]]:
    """The seed questions by id, each with its place from 1 up; empty where they cannot be read here at once.

    Nothing is fetched from the Hub, and overlaps are not looked for: a few that the run drops may be among them.
    """
    section = run.config.seeds
    if section.path == ("lab",):
        section = section.model_copy(update={"path": (str(run.path / "lab" / "seeds.jsonl"),), "id": "id"})
    if any("://" in path for path in section.path):
        return {}
    plain = section.model_copy(update={"decontaminate": (), "near_duplicates": None})
    try:
        found = seed_files.load(plain, ()).seeds
    except VeridistillError:
        return {}
    return {seed.seed_id: (place, seed) for place, seed in enumerate(found, 1)}


def candidates(known: Known, seed: Seed, config: Config, reasons: bool) -> list[AskedCandidate]:
    """The candidates of a question, by index."""
    return [
        _candidate(known, seed, index, entry, config, reasons)
        for index, entry in sorted(replies.solutions(known, seed.seed_id).items())
    ]


def entries(
    run: RunDir, units: Mapping[str, int], seeds: Mapping[str, tuple[int, Seed]], models: Models
) -> list[IndexEntry]:
    """Index entries of the questions among `units` (id to `no`), as they stand now."""
    found = []
    with closing(Reader(replies.journals(run))) as reader:
        for seed_id, no in units.items():
            known = replies.chosen(reader.replies(seed_id).values(), models)
            seed = seeds[seed_id][1] if seed_id in seeds else Seed(seed_id, UNKNOWN)
            if asked := candidates(known, seed, run.config, models.reasons):
                found.append(_entry(seed, no, asked))
    return found


def _entry(seed: Seed, no: int, asked: list[AskedCandidate]) -> IndexEntry:
    fates = [one.fate for one in asked]
    item = Item(
        no,
        seed.seed_id,
        head(seed.question),
        [[one.index, one.outcome, one.by, one.kept] for one in fates],
        None,
        question_facets(seed.domain, fates, decided=False),
        draws(fates),
    )
    texts = [Text(no, QUESTION, seed.question)]
    texts += [Text(no, one.fate.index + 1, split(one.solution.completion.text).answer) for one in asked]
    return IndexEntry(item, tuple(texts))


def _candidate(
    known: Known, seed: Seed, index: int, solution: Entry, config: Config, reasons: bool
) -> AskedCandidate:
    votes = []
    for stage, place in replies.votes_cast(known, index):
        said = replies.of_vote(known, seed.seed_id, index, stage, place, reasons)
        cast = replies.ballot(said)
        votes.append(
            AskedVote(None if cast is None else Vote(stage, place, *cast), stage, place, tuple(said))
        )
    outcome, by = _stands(solution, votes, seed, config)
    return AskedCandidate(Fate(index, outcome, by, False), solution, tuple(votes))


def _stands(solution: Entry, votes: list[AskedVote], seed: Seed, config: Config) -> tuple[str, str | None]:
    """Outcome and stage, as far as they are certain."""
    wrong = defect(solution.completion, DOMAINS[seed.domain].answer_of, reasoning=False)
    if solution.status == "refused" or wrong:
        return "malformed", wrong or "truncated"
    judge = config.judge
    counted = [one for one in votes if one.vote is not None and one.stage in judge.stages]
    for one in counted:
        if one.vote is not None and one.vote.ballot == "no":
            return "rejected", one.stage
    for one in counted:
        spent = max((reply.reask for reply in one.replies), default=0) >= judge.max_reasks
        if one.vote is not None and one.vote.ballot == "invalid" and spent:
            return "unjudged", one.stage
    passed = {(one.stage, one.index) for one in counted if one.vote is not None and one.vote.passed}
    whole = len(judge.stages) * judge.votes
    return ("accepted", None) if len(passed) >= whole else (OPEN, None)
