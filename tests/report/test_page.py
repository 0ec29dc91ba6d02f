"""The report as a file: whole, escaped, the same for equal input, and sound when parts are missing."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from veridistill.config import Config
from veridistill.report import about, page
from veridistill.report.views import CandidateView, ExampleView, VoteView

HOSTILE = (
    """<script>alert(1)</script><img src=x onerror=alert(1)>"'&amp;{{ 7*7 }}</div></details>\x00\ud800"""
)
VOID = {"meta", "br", "img", "link", "input", "hr"}

RESULTS: dict[str, Any] = {
    "version": "0.1.0",
    "status": "complete",
    "base": {"pass_at_1": 48.2, "se": 1.9, "low": 44.5, "high": 51.9, "num_problems": 300, "samples": 4},
    "after": {"pass_at_1": 60.3, "se": 1.8, "low": 56.8, "high": 63.8, "num_problems": 300, "samples": 4},
    "gain": {"mean": 12.1, "low": 9.0, "high": 15.2, "method": "t"},
    "funnel": {
        "seeds": 1500,
        "candidates": 7412,
        "well_formed": 6890,
        "stages": {
            "cycle_consistency": {"asked": 1900, "passed": 1100, "ended": 700},
            "factuality": {"asked": 6890, "passed": 2000, "ended": 4890},
            "correctness": {"asked": 1400, "passed": 1050, "ended": 279},
        },
        "kept": 1021,
    },
    "domains": {
        "math": {
            "funnel": {"seeds": 1000, "candidates": 4000, "well_formed": 3600, "kept": 800},
            "outcomes": {"accepted": 900},
            "invalid_share": 0.02,
            "questions_kept": 800,
        },
        "code": {
            "funnel": {"seeds": 500, "candidates": 3412, "well_formed": 3290, "kept": 221},
            "outcomes": {"accepted": 121},
            "invalid_share": 0.4,
            "questions_kept": 121,
        },
    },
    "outcomes": {"accepted": 1021, "rejected": 5711, "malformed": 522, "unjudged": 158},
    "audit": {
        "questions": 31,
        "candidates": 248,
        "acceptance": {"rate": 0.5, "low": 0.4, "high": 0.6},
        "stages": {
            "factuality": {
                "pass_rate": 0.42,
                "low": 0.351,
                "high": 0.492,
                "agreement": 0.8,
                "invalid_rate": 0.013,
                "candidates": 240,
            }
        },
        "censored": {
            "questions": 1500,
            "candidates": 7412,
            "acceptance": {"rate": 0.138, "low": 0.12, "high": 0.15},
            "stages": {"factuality": {"pass_rate": 0.69, "agreement": 0.9, "invalid_rate": 0.02}},
        },
    },
    "calls": {"solve": 7412, "factuality": 7210, "total": 14622},
    "tokens": {
        "prompt": 2201331,
        "completion": 3128844,
        "cancelled": 12044,
        "by_role": {"solve": {"prompt": 301221, "completion": 1301020}},
    },
    "votes": {"factuality": {"yes": 6612, "no": 2916, "invalid": 110}},
    "seconds": {"build": 312.4, "train": 141.2, "exam_base": 41.0},
    "warnings": ["3 duplicate questions were dropped"],
    "config": Config().model_dump(mode="json"),
    "versions": {"torch": "2.13.0"},
    "fingerprints": {"base": "9f2c1b7a", "after": "51be77c0"},
}


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, name: str) -> list[str | None]:
        return [value for found, value in self.attributes if found == name]


def example(text: str = "How many pens?", **changes: Any) -> ExampleView:
    votes = (
        VoteView("factuality", 0, "yes", "", ("sound [[Y]]",)),
        VoteView("factuality", 1, "no", text, (text,)),
    )
    whole = {
        "index": 0, "outcome": "rejected", "rejected_by": "factuality", "kept": False,
        "answer": text, "text": f"<think>hm</think>{text}", "votes": votes,
    }  # fmt: skip
    return ExampleView("00ff", text, (CandidateView(**(whole | changes)),))


def poisoned(value: Any) -> Any:
    """Every text of a structure made hostile, keys too."""
    if isinstance(value, dict):
        return {name: poisoned(inner) for name, inner in value.items()} | {HOSTILE: HOSTILE}
    if isinstance(value, list):
        return [HOSTILE]
    return HOSTILE if isinstance(value, str) else value


def test_the_page_says_what_the_results_say() -> None:
    parsed = Page(page.render(RESULTS, [example()]))
    for words in (
        "+12.1 points",
        "pass@1 went from 48.2 % to 60.3 %; 95 % interval of the difference 9.0 to 15.2 points.",
        "300 problems, 4 samples each",
        "48.2 % (44.5 to 51.9)",
        "1,500 questions; a candidate was kept for 1,021 of them (68 %)",
        "6,890 (93 %)",
        "cycle consistency asked about 1,900 of 6,890 passed 1,100, left open 100, ended 700",
        "cycle consistency 1,900 1,100 700 100 4,990",
        "accepted by all stages 1,021 (14 %)",
        "solve 7,412 301,221 1,301,020",
        "total 14,622 2,201,331 3,128,844",
        "12,044 tokens",
        "5 min 12 s",
        "factuality 6,612 2,916 110 69 %",
        "Audit: 31 questions, 248 candidates, asked exhaustively",
        "factuality 42 % 35 % to 49 % 80 % 1 % 69 % 2 %",
        "Accepted: 50 % of the audited candidates (40 % to 60 %), 14 % of all candidates that were judged.",
        "3 duplicate questions were dropped",
        "kept candidates at least 1 1,021 passed",
        "one model generates, judges and learns",
        "fingerprint before 9f2c1b7a",
        "judge.votes 5",
        "torch 2.13.0",
    ):
        assert words.replace("\xa0", " ") in parsed.text, words


def test_several_domains_are_told_apart() -> None:
    text = page.render(RESULTS, [])
    assert "<caption>By domain</caption>" in text
    cells = "".join(
        f"<td>{cell}</td>" for cell in ("500", "3,412", "96\u00a0%", "4\u00a0%", "24\u00a0%", "40\u00a0%")
    )
    assert f'<tr><th scope="row">code</th>{cells}</tr>' in text
    alone = RESULTS | {"domains": {"math": RESULTS["domains"]["math"]}}
    assert "By domain" not in page.render(alone, [])


def test_examples_show_answers_votes_and_replies() -> None:
    parsed = Page(page.render(RESULTS, [example("the pens")]))
    for words in (
        "1 rejected by factuality",
        "00ff",
        "<think>hm</think>the pens",
        "sound [[Y]]",
        "factuality, vote 1: the pens",
    ):
        assert words in parsed.text.replace(" : ", ": "), words
    assert parsed.tags.count("details") == parsed.tags.count("summary")
    assert "open" not in parsed.of("open")


def test_every_hostile_text_is_shown_as_text() -> None:
    text = page.render(poisoned(RESULTS), [example(HOSTILE, outcome=HOSTILE, rejected_by=HOSTILE)])
    parsed = Page(text)
    assert {"script", "img", "iframe", "link"}.isdisjoint(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in parsed.text
    assert "{{ 7*7 }}" in parsed.text
    assert "\x00" not in text
    text.encode("utf-8")


def test_it_stands_alone() -> None:
    text = page.render(RESULTS, [example()])
    parsed = Page(text)
    assert {"script", "link", "img"}.isdisjoint(parsed.tags)
    assert parsed.of("src") == []
    assert [link for link in parsed.of("href") if not str(link).startswith("#")] == []
    assert "url(" not in text
    assert "@import" not in text
    assert text.count("http") == text.count("http-equiv") + text.count('xmlns="http://www.w3.org/2000/svg"')


def test_it_can_be_used_without_seeing_it() -> None:
    parsed = Page(page.render(RESULTS, [example()]))
    assert parsed.of("lang") == ["en"]
    assert parsed.tags.count("h1") == parsed.tags.count("main") == 1
    assert parsed.tags.count("caption") == parsed.tags.count("table")
    assert parsed.tags.count("svg") >= 2
    assert all(parsed.of("aria-label"))
    ids = parsed.of("id")
    assert len(ids) == len(set(ids))
    assert set(parsed.of("aria-labelledby")) <= set(ids)
    assert {str(link).removeprefix("#") for link in parsed.of("href")} <= set(ids)


@pytest.mark.parametrize(
    "results", [{}, dict.fromkeys(RESULTS), {"config": {}, "funnel": {}, "calls": {}, "tokens": None}]
)
def test_empty_results_still_make_a_page(results: dict[str, Any]) -> None:
    parsed = Page(page.render(results, []))
    assert "No exam" in parsed.text
    assert "There are no examples to show." in parsed.text
    assert "None" not in parsed.text


@pytest.mark.parametrize("missing", sorted(RESULTS))
def test_each_part_may_be_missing(missing: str) -> None:
    Page(page.render({name: value for name, value in RESULTS.items() if name != missing}, [example()]))
    Page(page.render(RESULTS | {missing: None}, [example()]))
    Page(page.render(RESULTS | {missing: "odd"}, [example()]))
    Page(page.render(RESULTS | {missing: [float("nan")]}, [example()]))


def test_a_run_with_nothing_accepted_says_so() -> None:
    funnel = dict.fromkeys(RESULTS["funnel"], 0) | {"seeds": 40, "candidates": 320, "stages": {}}
    results = RESULTS | {
        "status": "below_quality",
        "funnel": funnel,
        "warnings": [],
        "base": None,
        "after": None,
        "gain": None,
    }
    text = Page(page.render(results, [])).text
    assert "Nothing was accepted" in text
    assert "do not use the result as it is" in text
    assert "failed" in text
    assert "No exam" in text


def test_no_exam_is_said_plainly() -> None:
    without = RESULTS | {"base": None, "after": None, "gain": None}
    text = Page(page.render(without, [])).text
    assert "No exam This run kept 1,021 examples. No problems were given" in text
    assert "Before and after" not in text
    config = Config().model_dump(mode="json") | {"evaluation": {"problems": "lab"}}
    assert "The model was not evaluated" in Page(page.render(without | {"config": config}, [])).text


def test_an_interval_around_zero_is_no_gain() -> None:
    text = Page(page.render(RESULTS | {"gain": {"mean": -0.4, "low": -3.0, "high": 2.2}}, [])).text
    assert "−0.4 points" in text
    assert "includes 0: this run does not show a difference" in text
    alike = {"mean": 0.0, "low": -10.0, "high": 10.0, "method": "rule_of_three"}
    assert (
        "differences are equal, so the interval is by the rule of three"
        in Page(page.render(RESULTS | {"gain": alike}, [])).text
    )


def test_only_the_base_was_examined() -> None:
    text = Page(page.render(RESULTS | {"status": "incomplete", "after": None, "gain": None}, [])).text
    assert "48.2 % before" in text.replace("\xa0", " ")
    assert "This run is incomplete: a step stopped" in text


def test_a_long_text_loses_its_middle_and_says_so() -> None:
    text = Page(page.render(RESULTS, [example("a" * 100_000 + "end")])).text
    assert "60,003 characters left out" in text
    assert "aend" in text


def test_equal_input_gives_an_equal_file(tmp_path: Path) -> None:
    first = page.write(tmp_path, RESULTS, [example()]).read_bytes()
    again = page.write(tmp_path, json.loads(json.dumps(RESULTS)), [example()]).read_bytes()
    assert first == again
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.write(tmp_path, RESULTS, [])
    before = (tmp_path / "report.html").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        page.write(tmp_path, {}, [])
    assert (tmp_path / "report.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_excerpts_are_cut_between_words() -> None:
    assert page.excerpt("a  short\nquestion") == "a short question"
    assert page.excerpt("one two three", 9) == "one two …"
    assert page.excerpt("x" * 50, 10) == "x" * 10 + "…"


def test_summaries_count_fates() -> None:
    def candidate(index: int, outcome: Any, by: str | None, kept: bool = False) -> CandidateView:
        return CandidateView(index, outcome, by, kept, "", "")

    lost = (
        candidate(0, "malformed", "truncated"),
        candidate(1, "rejected", "factuality"),
        candidate(2, "rejected", "factuality"),
    )
    assert page.summary(ExampleView("0", "q", lost)) == "2 rejected by factuality; 1 malformed: truncated"
    assert (
        page.summary(ExampleView("0", "q", (*lost, candidate(3, "accepted", None, True))))
        == "kept candidate 3"
    )
    assert page.summary(ExampleView("0", "q")) == "no candidates"


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"model": None, "engine": None}, "one model generates, judges and learns"),
        ({"model": {"path": "org/judge"}, "engine": None}, "another judges: org/judge"),
        ({"model": None, "engine": {"kind": "endpoint"}}, "in a separate engine"),
    ],
)
def test_it_says_who_judges(judge: dict[str, Any], said: str) -> None:
    items = about.subject({"config": {"judge": judge}})
    assert said in next(item.value for item in items if item.label == "roles")
