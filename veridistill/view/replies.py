"""The replies behind one question's candidates and votes, read off the journal.

A vote's replies come in the order in which a judge is asked: a reference solution or an inferred question first, the
reply that votes, a follow-up, and then the same again for each time that the vote was asked anew.
"""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from veridistill.calls.journal import Entry, Reader
from veridistill.data.rundir import RunDir
from veridistill.decide import Reading, Split, read_follow_up, read_verdict, split
from veridistill.records import Ballot
from veridistill.records import Path as RequestPath
from veridistill.view.rounds import Models

VOTING = ("compare", "factuality", "correctness", "simple")
_ORDER = {role: place for place, role in enumerate(("reference", "infer", *VOTING, "verdict"))}

Known = Mapping[tuple[str, RequestPath], Entry]


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a judge. `reading`: how it votes, if its role does; `shared`: all candidates have it in common."""

    role: str
    reask: int
    text: str
    parts: Split
    finish_reason: str
    tokens: int
    refused: bool
    reading: Reading | None
    shared: bool = False


def of_unit(run: RunDir, unit: str, models: Models) -> dict[tuple[str, RequestPath], Entry]:
    """A unit's replies by role and path, in the order in which they came; empty without a journal."""
    paths = journals(run)
    if not paths:
        return {}
    with closing(Reader(paths)) as reader:
        return chosen(reader.replies(unit).values(), models)


def journals(run: RunDir) -> tuple[Path, ...]:
    return tuple(path for path in (run.journal, *run.older) if path.is_file())


def chosen(entries: Iterable[Entry], models: Models) -> dict[tuple[str, RequestPath], Entry]:
    """The replies that belong to a round; of several to the same call that of the run itself, not of one it forked."""
    found: dict[tuple[str, RequestPath], Entry] = {}
    for entry in entries:
        if models.solving is None:
            if entry.model not in models.not_solving:
                found.setdefault((entry.role, entry.path), entry)
        elif entry.model in (models.solving, models.judging):
            found.setdefault((entry.role, entry.path), entry)
    return found


def solutions(known: Known, seed_id: str) -> dict[int, Entry]:
    """The sampled candidates, by index."""
    return {
        int(path[1]): entry
        for (role, path), entry in known.items()
        if role == "solve" and len(path) == 2 and path[0] == seed_id
    }


def votes_cast(known: Known, candidate: int) -> list[tuple[str, int]]:
    """Stage and index of the votes that were asked on a candidate, in the order in which they were."""
    places = [path for _, path in known if len(path) == 5 and path[1] == candidate]
    return list(dict.fromkeys((str(path[2]), int(path[3])) for path in places))


def of_vote(known: Known, seed_id: str, candidate: int, stage: str, index: int, reasons: bool) -> list[Reply]:
    """What was replied for one vote. `reasons`: whether a judge's reply must have reasoning."""
    own: dict[int, dict[str, tuple[Entry, bool]]] = {}
    for (role, path), entry in known.items():
        if len(path) != 5 or path[0] != seed_id or path[2] != stage:
            continue
        mine = path[1] == candidate and path[3] == index
        shared = path[1] == "reference" and path[3] == index
        if mine or shared:
            own.setdefault(int(path[4]), {})[role] = (entry, shared)
    _add_common_inference(own, known, (seed_id, candidate, stage, 0))
    found = []
    for reask in sorted(own):
        replies = own[reask]
        asked = any(not shared for _, shared in replies.values())
        if not asked and reask > 0:
            continue  # a reference solution that another candidate's re-ask needed
        for role in sorted(replies, key=lambda role: _ORDER.get(role, 99)):
            entry, shared = replies[role]
            voting = next((replies[one][0] for one in VOTING if one in replies), None)
            found.append(_reply(entry, reask, _reading(entry, voting, reasons), shared))
    return found


def _add_common_inference(
    own: dict[int, dict[str, tuple[Entry, bool]]], known: Known, first: RequestPath
) -> None:
    """Where all votes compare one inferred question, it stands at the first vote alone."""
    for reask, replies in own.items():
        if (
            "compare" in replies
            and "infer" not in replies
            and (entry := known.get(("infer", (*first, reask))))
        ):
            replies["infer"] = (entry, False)


def ballot(replies: list[Reply]) -> tuple[Ballot, str] | None:
    """How a vote stands by its replies so far; None before a reply that votes."""
    last = next((reply for reply in reversed(replies) if reply.reading is not None), None)
    if last is None or last.reading is None:
        return None
    return last.reading.ballot, last.reading.reason


def _reading(entry: Entry, voting: Entry | None, reasons: bool) -> Reading | None:
    if entry.role not in (*VOTING, "verdict"):
        return None
    if entry.status == "refused":  # a follow-up that is refused decides nothing
        return None if entry.role == "verdict" else Reading("invalid", f"refused: {entry.completion.text}")
    if entry.role == "verdict" and voting is not None:
        return read_follow_up(voting.completion, entry.completion, reasons)
    return read_verdict(entry.completion, reasons)


def _reply(entry: Entry, reask: int, reading: Reading | None, shared: bool) -> Reply:
    reply = entry.completion
    return Reply(
        entry.role, reask, reply.text, split(reply.text), reply.finish_reason, reply.completion_tokens,
        entry.status == "refused", reading, shared,
    )  # fmt: skip
