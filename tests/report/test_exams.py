"""The report's tables of exams: every benchmark, sums as in the paper, and the cascade at test time."""

from typing import Any

import pytest

from veridistill.report import builds, exams


def difference(mean: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "bootstrap_low": low, "bootstrap_high": high}


def paired(before: float, after: float, *interval: float, num: int = 30) -> dict[str, Any]:
    found = {"before": before, "after": after, "num_problems": num}
    return found | difference(after - before, *interval)


def side(
    value: float | None, truncated: float = 0.0, no_answer: float = 0.0, **rare: float
) -> dict[str, Any]:
    never = {"refused": 0.0, "ungraded": 0.0, "ungraded_problems": 0, "unreadable_problems": 0}
    rates = {"truncated": truncated, "no_answer": no_answer}
    return {"pass_at_1": value, "num_problems": 30} | rates | never | rare


WHOLE: dict[str, Any] = {
    "base": {"benchmarks": {"aime26": side(59.3, 12.0, 4.5), "hmmt_feb25": side(39.3)}},
    "after": {"benchmarks": {"aime26": side(69.3, 2.5, 0.5), "hmmt_feb25": side(46.0)}},
    "gains": {
        "benchmarks": {"aime26": paired(59.3, 69.3, 1.0, 19.0), "hmmt_feb25": paired(39.3, 46.0)},
        "domains": {
            "math": {
                "total": {
                    "benchmarks": ["aime26", "hmmt_feb25"],
                    "sum": 16.7,
                    "mean": 8.35,
                    "low": 4.0,
                    "high": 29.4,
                }
            }
        },
    },
}


def test_each_benchmark_has_a_row_and_a_domain_with_several_its_sum() -> None:
    table = exams.benchmarks(WHOLE)
    assert table is not None
    first, second = table.rows
    assert first[:6] == ("aime26", "30", "59.3", "69.3", "+10.0", "[+1.0, +19.0]")
    assert second[5] == "–"
    assert "math: sum over aime26, hmmt_feb25 +16.7 [+4.0, +29.4], mean +8.3" in table.note


def test_before_and_after_are_of_the_problems_that_their_difference_is_of() -> None:
    exam = {
        "base": {"benchmarks": {"own": side(100.0, ungraded=50.0)}},
        "after": {"benchmarks": {"own": side(50.0)}},
        "gains": {"benchmarks": {"own": paired(100.0, 0.0, num=1)}},
    }
    table = exams.benchmarks(exam)
    assert table is not None
    assert table.rows == (("own", "1", "100.0", "0.0", "−100.0", "–", "–"),)


def test_an_interval_by_the_rule_of_three_is_said_to_be_one() -> None:
    alike = paired(50.0, 50.0, -10.0, 10.0) | {"method": "rule_of_three"}
    gains = {"benchmarks": {"aime26": alike, "hmmt_feb25": paired(39.3, 46.0) | {"method": "t"}}}
    table = exams.benchmarks(WHOLE | {"gains": gains})
    assert table is not None
    assert "aime26: all differences are equal" in table.note
    assert "hmmt_feb25" not in table.note


def test_how_samples_ended_stands_beside_accuracy_before_and_after() -> None:
    """A model that answers shorter may score higher because it comes to an end."""
    table = exams.endings(WHOLE)
    assert table is not None
    assert table.header == ("benchmark", "pass@1", "truncated", "no answer")
    assert table.rows[0] == ("aime26", "59.3 / 69.3", "12.0 / 2.5", "4.5 / 0.5")
    alone = exams.endings({"base": WHOLE["base"]})
    assert alone is not None
    assert alone.rows[1] == ("hmmt_feb25", "39.3", "0.0", "0.0")


def test_what_was_left_out_has_a_column_where_there_is_any() -> None:
    exam = {
        "base": {"benchmarks": {"own": side(50.0, ungraded=2.5, unreadable_problems=1), "other": side(1.0)}},
        "after": {"benchmarks": {"own": side(60.0, unreadable_problems=1), "other": side(2.0)}},
    }
    table = exams.endings(exam)
    assert table is not None
    assert table.header[4:] == ("not graded", "problems without a readable reference")
    assert table.rows[0][4:] == ("2.5 / 0.0", "1 / 1")
    assert table.rows[1][4:] == ("0.0 / 0.0", "0 / 0")


def test_a_sum_without_an_interval_says_so() -> None:
    total = {"benchmarks": ["a", "b"], "sum": 200.0, "mean": 100.0, "low": None, "high": None}
    table = exams.benchmarks(WHOLE | {"gains": {"domains": {"math": {"total": total}}}})
    assert table is not None
    assert "sum over a, b +200.0 without an interval, mean +100.0" in table.note


@pytest.mark.parametrize("results", [{}, {"base": None, "gains": None}, {"base": {"pass_at_1": 3.0}}])
def test_without_an_exam_there_is_no_table(results: dict[str, Any]) -> None:
    assert exams.benchmarks(results) is None
    assert exams.endings(results) is None
    assert exams.test_time(results) == []


def test_before_alone_has_no_difference() -> None:
    table = exams.benchmarks({"base": WHOLE["base"], "gains": None})
    assert table is not None
    assert table.rows[0][2:6] == ("59.3", "–", "–", "–")


def test_methods_at_test_time_stand_beside_the_first_sample() -> None:
    method = {"accuracy": 68.0, "low": 50.1, "high": 81.4, "calls_per_problem": 41.5, "tokens": 123456}
    first = method | {"over_candidate_0": difference(0.0, 0.0, 0.0)}
    found = {"num_problems": 30, "accepted": 80.0, "methods": {"candidate_0": first, "uq_ttc": method}}
    found["unreadable_problems"] = 2
    (table,) = exams.test_time({"ttc": {"base": found}})
    assert table.caption == "At test time, the model before"
    assert table.rows[1] == ("UQ-TTC", "68.0", "[50.1, 81.4]", "–", "–", "41.5", "123,456")
    assert table.note == (
        "30 problems; a candidate was accepted for 80.0 % of them."
        " 2 more are left out: their reference cannot be read."
    )


def test_near_misses_stand_beside_the_canaries_and_do_not_count() -> None:
    near = {"judged": 7, "accepted": 5}
    canaries = {"judged": 12, "accepted": 0, "low": 0.0, "high": 0.3, "near_miss": near}
    (limit,) = builds.limits({"canaries": canaries, "config": {"quality": {"max_canaries": 0.2}}})
    assert limit.passed
    assert limit.found.endswith("; of 7 near misses 5, which do not count")


def test_a_build_that_was_stopped_early_shows_that_limit_alone() -> None:
    stopped = {"questions": 20, "votes": 80, "invalid": 60}
    config = {"quality": {"max_invalid": 0.5, "min_kept": 1}}
    (limit,) = builds.limits({"stopped_early": stopped, "config": config, "funnel": {"kept": 9}})
    assert (limit.name, limit.passed, limit.limit) == ("invalid votes", False, "at most 50\xa0%")
    assert limit.found == "75\xa0% of the first 20 questions' votes"


@pytest.mark.parametrize(("low", "passed"), [(0.02, True), (0.2, True), (0.31, False)])
def test_accepted_canaries_are_a_gate(low: float, passed: bool) -> None:
    canaries = {"judged": 12, "accepted": 4, "low": low, "high": 0.6}
    (limit,) = builds.limits({"canaries": canaries, "config": {"quality": {"max_canaries": 0.2}}})
    assert limit.passed is passed
    assert limit.found.startswith("4 of 12")
    assert builds.limits({"canaries": {"judged": 0, "low": None}}) == []
