"""Questions and flips as HTML within a number of bytes: where the page has no room, texts are clipped shorter.

Each is given its share of what is left. It is tried with the longest texts first, and what it does not use is left to
those after it, so a short run shows everything and a long one still shows as many questions.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from veridistill.report.render import CLIP
from veridistill.report.views import CandidateView, ExampleView

EXAMPLES_BYTES = 1_800_000
FLIPS_BYTES = 700_000

_RUNGS = (
    (CLIP, 64, 64), (1_500, 64, 64), (600, 16, 64), (400, 8, 16), (300, 4, 8), (200, 2, 8), (100, 1, 4), (40, 1, 0)
)  # fmt: skip

_MOST_GROWN = 12.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a question is shown: bytes of each text, candidates in full, and votes of each with their words."""

    clip: int
    candidates: int
    votes: int


def fitted(
    views: Iterable[T],
    num: int,
    draw: Callable[[T, Room], Markup],
    weigh: Callable[[T, Room], int],
    budget: int,
) -> Iterator[Markup]:
    """Each of `num` views drawn with as much room as its share of the budget allows, or with the least there is.

    `weigh` is a lower bound of what `draw` gives, in bytes. With how much the last view grew beyond it, it saves
    drawing what cannot fit.
    """
    left, grown = budget, 1.0
    for place, view in enumerate(views):
        share = max(left, 0) // max(1, num - place)
        drawn = Markup("")
        for rung in _RUNGS:
            room = Room(*rung)
            least = weigh(view, room)
            if rung != _RUNGS[-1] and least * grown > share:
                continue
            drawn = draw(view, room)
            grown = max(1.0, min(_MOST_GROWN, 0.8 * size(drawn) / max(least, 1)))
            if size(drawn) <= share:
                break
        left -= size(drawn)
        yield drawn


def size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def shown_in_full(example: ExampleView, room: Room) -> set[int]:
    """The indices of the candidates that are shown with their texts: kept ones first, then those that came furthest."""
    order = sorted(
        example.candidates, key=lambda one: (not one.kept, one.outcome != "accepted", -_yes(one), one.index)
    )
    return {one.index for one in order[: room.candidates]}


def _yes(candidate: CandidateView) -> int:
    return sum(vote.ballot == "yes" for vote in candidate.votes)


def weight(example: ExampleView, room: Room) -> int:
    """Bytes of the texts that a question would show, at least."""
    full = shown_in_full(example, room)
    texts = [example.question]
    for one in example.candidates:
        if one.index in full:
            texts.append(one.text)
            texts += [reply for vote in one.votes[: room.votes] for reply in vote.replies]
    return sum(min(len(text), room.clip) for text in texts)
