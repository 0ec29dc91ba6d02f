"""What the report finds in the tables: verdicts by place and length, problems won and lost, drift, training, cost."""

import json
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from veridistill.data import tables
from veridistill.records import Attempt, Problem
from veridistill.report import cost
from veridistill.report.breakdown import breakdown, by_domain, legend
from veridistill.report.budget import Room, fitted, shown_in_full, size
from veridistill.report.drift import drift, lengths_chart, overlap, table
from veridistill.report.flips import flips
from veridistill.report.trained import training
from veridistill.report.views import CandidateView, ExampleView, VoteView


def test_candidates_are_counted_by_place_and_length() -> None:
    found = breakdown([(0, "accepted", 1), (0, "rejected", 100), (1, "rejected", 127), (1, "malformed", 0)])
    assert [(row.label, dict(row.outcomes)) for row in found.by_index] == [
        ("candidate 0", {"accepted": 1, "rejected": 1}),
        ("candidate 1", {"rejected": 1, "malformed": 1}),
    ]
    assert [(row.label, row.total) for row in found.by_length] == [
        ("no token", 1),
        ("1 token", 1),
        ("91 to 127 tokens", 2),
    ]
    assert found.by_index[0].accepted == "50\xa0%"
    assert legend(found.by_index) == [("accepted", "1"), ("rejected", "2"), ("malformed", "1")]


def test_many_lengths_and_places_are_joined() -> None:
    found = breakdown([(index, "rejected", 2**index) for index in range(20)])
    assert [row.label for row in found.by_length][:3] == ["1 token", "2 to 3 tokens", "4 to 7 tokens"]
    assert found.by_index[-1].label == "candidates 16 and later"
    assert sum(row.total for row in found.by_index) == sum(row.total for row in found.by_length) == 20
    assert by_domain({"domains": {"math": {"outcomes": {"accepted": 1}}}}) == ()


EXAMS = {
    # problem: outcomes before, outcomes after
    "won": (("wrong", "wrong"), ("wrong", "pass")),
    "lost": (("pass", "pass"), ("pass", "no_answer")),
    "even": (("pass", "wrong"), ("wrong", "pass")),
    "odd": (("sandbox_error", "wrong"), ("pass", "pass")),
    "ungraded": (("grader_error", "grader_error"), ("pass", "pass")),
    "unreadable": (("wrong", "unreadable_reference"), ("pass", "pass")),
}


def exam(folder: Path) -> tuple[Path, Path, Path]:
    paths = folder / "exam_base.parquet", folder / "exam_after.parquet", folder / "problems.parquet"
    tables.PROBLEMS.write(paths[2], [Problem(name, "own", "math", f"question {name}", "7") for name in EXAMS])
    for side, path in enumerate(paths[:2]):
        rows: list[Attempt] = []
        for name, outcomes in EXAMS.items():
            for index, outcome in enumerate(outcomes[side]):
                text, kind = f"{name} {side} {index} and so on", outcome
                answer: Any = str(index * side)
                rows.append(Attempt(name, "own", index, answer, kind, "", "stop", 10 + side, text))  # type: ignore[arg-type]
        tables.ATTEMPTS.write(path, rows)
    return paths


def test_problems_won_and_lost_show_the_samples_that_differ(tmp_path: Path) -> None:
    found = flips(*exam(tmp_path))
    assert (found.won, found.lost, found.even) == (2, 1, 1)
    shown = {one.problem_id: (one.won, one.old.response[:8], one.new.response[:8]) for one in found.shown}
    assert shown == {
        "won": (True, "won 0 0 ", "won 1 1 "),
        "odd": (True, "odd 0 1 ", "odd 1 0 "),
        "lost": (False, "lost 0 0", "lost 1 1"),
    }
    first = found.shown[0]
    assert (first.problem_id, first.before, first.after) == ("odd", 0.0, 1.0), (
        "the largest change comes first"
    )
    assert (first.question, first.reference, first.old.index, first.new.answer) == (
        "question odd",
        "7",
        1,
        "0",
    )


def test_few_flips_are_shared_between_won_and_lost(tmp_path: Path) -> None:
    found = flips(*exam(tmp_path), most=2)
    assert [one.problem_id for one in found.shown] == ["odd", "lost"]


def test_drift_is_length_and_likeness(tmp_path: Path) -> None:
    found = drift(*exam(tmp_path))
    assert found is not None
    assert (list(found.before.lengths), list(found.after.lengths)) == ([10] * 12, [11] * 12)
    assert (found.before.distinct, found.after.distinct) == (0.5, 1.0)
    assert found.before.problems == 6
    rows = {row[0]: row[1:] for row in table(found).rows}
    assert rows["mean tokens of an answer"] == ("10.0", "11.0")
    assert rows["distinct final answers of a problem’s samples"] == ("50\xa0%", "100\xa0%")
    assert lengths_chart(found).count("polyline") == 2


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [("a b c d", "a b c d", 1.0), ("a b c d", "b c d e", 1 / 3), ("", "", 1.0), ("a", "b", 0.0)],
)
def test_overlap_is_of_word_triples(one: str, other: str, shared: float) -> None:
    assert overlap(one, other) == pytest.approx(shared)


def test_training_is_read_with_what_was_recorded(tmp_path: Path) -> None:
    assert training(tmp_path, 1) is None
    record: dict[str, Any] = {"steps": 3, "losses": [0.5, None, 0.3], "num_rows": 9, "seconds": 12.0}
    path = tmp_path / "training.json"
    path.write_text(json.dumps(record))
    found = training(tmp_path, 2)
    assert found is not None
    assert found.losses == ((1.0, 0.5), (3.0, 0.3))
    assert found.rate_chart == ""
    assert dict(found.facts)["loss, first and last tenth"] == "0.5 and 0.3 nats"
    path.write_text(
        json.dumps(record | {"learning_rates": [0.0, 1e-5], "validation": [{"step": 2, "loss": 0.4}, {}]})
    )
    found = training(tmp_path, 2)
    assert found is not None
    assert found.rates == ((1.0, 0.0), (2.0, 1e-5))
    assert found.validation == ((2.0, 0.4),)
    assert found.loss_chart.count("polyline") == 2
    for odd in ("[]", "{", '{"losses": 3}'):
        path.write_text(odd)
        assert training(tmp_path, 1) is None


LAZY: dict[str, Any] = {
    "config": {"generate": {"candidates": 4}, "judge": {"votes": 2, "stages": ["cycle_consistency", "factuality"]}},
    "funnel": {"seeds": 10, "candidates": 20, "well_formed": 10},
    "votes": {"cycle_consistency": {"yes": 5, "no": 5}, "factuality": {"yes": 10}},
    "outcomes": {"accepted": 5},
    "calls": {"solve": 20, "infer": 10, "compare": 10, "factuality": 10, "exam": 5, "total": 55},
    "tokens": {
        "prompt": 3_500, "completion": 2_500,
        "by_role": {
            "solve": {"prompt": 1_000, "completion": 1_000}, "infer": {"prompt": 500, "completion": 500},
            "compare": {"prompt": 500, "completion": 500}, "factuality": {"prompt": 500, "completion": 500},
            "exam": {"prompt": 1_000, "completion": 0},
        },
    },
}  # fmt: skip


def test_what_laziness_saved_is_against_every_candidate_and_every_vote() -> None:
    """All: 40 candidates, half of them well formed, 2 votes of 2 calls and 2 of 1 each: 40 + 20 x 6 = 160."""
    assert cost.saved(LAZY, tokens=False) == pytest.approx(1 - (20 + 20 + 10) / 160)
    assert cost.saved(LAZY, tokens=True) == pytest.approx(1 - 100 * 50 / (100 * 160))
    for name in ("config", "funnel"):
        assert cost.saved(LAZY | {name: None}, tokens=False) is None
    shown = dict(cost.items(LAZY))
    assert shown["accepted per million tokens"] == "1000.0"
    assert shown["calls saved by laziness"] == "69\xa0%"
    assert "money" not in shown


def test_views_share_the_room() -> None:
    """A long view gets its share; what a short one does not use goes to those after it."""

    def draw(text: str, room: Room) -> Markup:
        return Markup(text[: room.clip])

    def weigh(text: str, room: Room) -> int:
        return min(len(text), room.clip)

    texts = ["a" * 100, "b" * 9_000, "c" * 9_000]
    drawn = [len(one) for one in fitted(texts, 3, draw, weigh, 4_000)]
    assert drawn == [100, 1_500, 1_500]
    assert [len(one) for one in fitted(texts, 3, draw, weigh, 20_000)] == [100, 4_096, 4_096]
    assert [len(one) for one in fitted(texts, 3, draw, weigh, 0)] == [40, 40, 40]
    assert size("é") == 2


def test_the_candidates_that_came_furthest_are_shown() -> None:
    def candidate(index: int, yes: int, kept: bool = False) -> CandidateView:
        votes = tuple(VoteView("factuality", vote, "yes") for vote in range(yes))
        return CandidateView(index, "accepted" if kept else "rejected", None, kept, "", "", votes)

    view = ExampleView("0", "q", "math", (candidate(0, 1), candidate(1, 3), candidate(2, 0, kept=True)))
    assert [shown_in_full(view, Room(9, num, 9)) for num in (1, 2, 9)] == [{2}, {2, 1}, {0, 1, 2}]
