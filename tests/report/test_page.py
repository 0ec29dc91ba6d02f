"""The report as a file: whole, escaped, the same for equal input, and sound when parts are missing."""

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from veridistill.config import Config
from veridistill.report import about, page
from veridistill.report.breakdown import breakdown
from veridistill.report.budget import EXAMPLES_BYTES
from veridistill.report.drift import Drift, Side
from veridistill.report.flips import Flip, Flips, Sample
from veridistill.report.gather import Contents
from veridistill.report.trained import Training
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
        if not self.open or self.open[-1] not in ("style", "title", "script"):
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
    return ExampleView("00ff", text, "math", (CandidateView(**(whole | changes)),))


def contents(text: str = "How many pens?", results: Any = RESULTS, **changes: Any) -> Contents:
    """Everything that a page may hold, with this text wherever a model's or a user's text may stand."""
    old, new = (
        Sample(index, "wrong" if index else "pass", text, f"<think>{text}</think>{text}", 9)
        for index in (1, 0)
    )
    whole: dict[str, Any] = {
        "examples": [example(text)],
        "breakdown": breakdown([(0, "accepted", 90), (1, "rejected", 300), (1, "malformed", 0)]),
        "flips": Flips(1, 0, 4, (Flip(text, text, text, text, 0.25, 1.0, old, new),)),
        "drift": Drift(Side([10, 20, 40], 0.5, 0.2, 3), Side([5, 10, 12], 0.4, 0.3, 3)),
        "trainings": (Training(1, ((1.0, 0.5), (2.0, 0.4)), ((1.0, 1e-5), (2.0, 2e-5)), ((2.0, 0.6),)),),
    }  # fmt: skip
    return Contents(results, **(whole | changes))


def rendered(results: Any = RESULTS, examples: Any = ()) -> str:
    return page.page(Contents(results, examples))


def poisoned(value: Any, text: str = HOSTILE) -> Any:
    """Every text of a structure made hostile, keys too."""
    if isinstance(value, dict):
        return {name: poisoned(inner, text) for name, inner in value.items()} | {text: text}
    if isinstance(value, list):
        return [text]
    return text if isinstance(value, str) else value


def test_the_page_says_what_the_results_say() -> None:
    parsed = Page(rendered(RESULTS, [example()]))
    for words in (
        "+12.1 points",
        "Trained on its own accepted answers, the model got better: pass@1 went from 48.2 % to 60.3 %;"
        " the 95 % interval of the difference is 9.0 to 15.2 points.",
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
    text = rendered(RESULTS, [])
    assert "<caption>By domain</caption>" in text
    cells = "".join(
        f"<td>{cell}</td>" for cell in ("500", "3,412", "96\u00a0%", "4\u00a0%", "24\u00a0%", "40\u00a0%")
    )
    assert f'<tr><th scope="row">code</th>{cells}</tr>' in text
    alone = RESULTS | {"domains": {"math": RESULTS["domains"]["math"]}}
    assert "By domain" not in rendered(alone, [])


def test_examples_show_answers_votes_and_replies() -> None:
    text = rendered(RESULTS, [example("the pens")])
    parsed = Page(text)
    for words in (
        "1 rejected by factuality",
        "00ff , math",
        "Reasoning, 2 characters hm the pens",
        "✓ yes factuality 0 sound [[Y]]",
        "✗ no factuality 1: the pens the pens",
    ):
        assert words in parsed.text, words
    assert parsed.tags.count("details") == parsed.tags.count("summary")
    assert "open" not in parsed.of("open")
    assert 'data-tags="domain-math nothing-kept rejected by-factuality"' in text


def test_everything_a_page_may_hold_is_on_it() -> None:
    parsed = Page(page.page(contents()))
    for words in (
        "1 problem won, 0 lost, 4 as before.",
        "won How many pens? 25 % of samples right before, 100 % after",
        "Before, sample 1 wrong",
        "After, sample 0 right",
        "mean tokens of an answer 23.3 9.0",
        "distinct final answers of a problem’s samples 50 % 40 %",
        "candidate 1 2 0 %",
        "64 to 90 tokens 1 100 %",
        "Loss in nats.",
        "Learning rate.",
        "veridistill diff RUN AGAIN",
    ):
        assert words.replace("\xa0", " ") in parsed.text, words
    links = {str(link).removeprefix("#") for link in parsed.of("href")}
    assert {"exam", "flips", "drift", "funnel", "verdicts", "judges", "training", "examples", "run"} <= links


def test_what_money_was_spent_is_shown_where_it_is_known() -> None:
    money = {"currency": "EUR", "total": 12.5, "parts": {"build": 10.0, "exam_base": 2.5}}
    parsed = Page(rendered(RESULTS | {"cost": money}))
    assert "Money part cost build 10.00 EUR exam before 2.50 EUR total 12.50 EUR" in parsed.text.replace(
        "\xa0", " "
    )
    assert "Money" not in rendered(RESULTS)


def test_a_build_that_stopped_at_its_target_says_so() -> None:
    stopped = RESULTS | {"rounds": [{"stopped_at_target": 500, "questions_kept": 500}]}
    assert "stopped at its target of 500 kept questions" in rendered(stopped)
    config = RESULTS["config"] | {"build": {"target": 500}}
    short = RESULTS | {"config": config, "rounds": [{"stopped_at_target": None, "questions_kept": 340}]}
    assert "kept 340 questions, short of its target of 500" in rendered(short)
    assert "target of" not in rendered(RESULTS)


def test_a_page_has_one_script_and_one_style_and_admits_no_others() -> None:
    text = page.page(contents(HOSTILE))
    parsed = Page(text)
    assert parsed.tags.count("script") == parsed.tags.count("style") == 1
    policy = next(
        str(value) for name, value in parsed.attributes if name == "content" and "default-src" in str(value)
    )
    for kind in ("style", "script"):
        inside = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert inside is not None
        digest = b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "style" not in {name for name, _ in parsed.attributes}


def test_a_page_of_many_long_examples_stays_small() -> None:
    votes = tuple(VoteView("factuality", vote, "no", "", ("w $y$" * 2_000,)) for vote in range(9))
    text = "<think>" + "r<&>" * 3_000 + "</think>" + "a" * 9_000
    candidates = tuple(
        CandidateView(index, "rejected", "factuality", False, "a", text, votes) for index in range(8)
    )
    views = [ExampleView(f"{number:04x}", "q $x^2$ " * 400, "math", candidates) for number in range(200)]
    text = rendered(RESULTS, views)
    assert text.count('<details class="example"') == 200
    assert len(text.encode()) < EXAMPLES_BYTES + 200_000
    alone = rendered(RESULTS, views[:1])
    assert len(alone.encode()) < 2 * EXAMPLES_BYTES
    assert "Texts of" not in alone
    assert alone.count("Candidate ") == 2 * 8


def test_every_hostile_text_is_shown_as_text() -> None:
    text = page.page(
        contents(
            HOSTILE, poisoned(RESULTS), examples=[example(HOSTILE, outcome=HOSTILE, rejected_by=HOSTILE)]
        )
    )
    parsed = Page(text)
    assert {"img", "iframe", "link", "object", "embed", "form"} & set(parsed.tags) == {"form"}
    assert parsed.tags.count("script") == 1
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in parsed.text
    assert "{{ 7*7 }}" in parsed.text
    assert "\x00" not in text
    text.encode("utf-8")


def test_it_stands_alone() -> None:
    text = page.page(contents())
    parsed = Page(text)
    assert {"link", "img"}.isdisjoint(parsed.tags)
    assert parsed.of("src") == []
    assert [link for link in parsed.of("href") if not str(link).startswith("#")] == []
    assert "url(" not in text
    assert "@import" not in text
    assert text.count("http") == text.count("http-equiv") + text.count('xmlns="http://www.w3.org/2000/svg"')


def test_it_can_be_used_without_seeing_it() -> None:
    parsed = Page(page.page(contents()))
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
    parsed = Page(rendered(results, []))
    assert "No exam" in parsed.text
    assert "There are no examples to show." in parsed.text
    assert "None" not in parsed.text


@pytest.mark.parametrize("missing", sorted(RESULTS))
def test_each_part_may_be_missing(missing: str) -> None:
    Page(rendered({name: value for name, value in RESULTS.items() if name != missing}, [example()]))
    Page(rendered(RESULTS | {missing: None}, [example()]))
    Page(rendered(RESULTS | {missing: "odd"}, [example()]))
    Page(rendered(RESULTS | {missing: [float("nan")]}, [example()]))


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
    text = Page(rendered(results, [])).text
    assert "Nothing was accepted" in text
    assert "do not use the result as it is" in text
    assert "failed" in text
    assert "no gain was measured" in text


def test_no_exam_is_said_plainly() -> None:
    without = RESULTS | {"base": None, "after": None, "gain": None}
    text = Page(rendered(without, [])).text
    assert "1,021 examples This run kept 1,021 examples; no gain was measured: no problems were given" in text
    assert "Before and after" not in text
    config = Config().model_dump(mode="json") | {"evaluation": {"problems": "lab"}}
    assert "the model was not evaluated" in Page(rendered(without | {"config": config}, [])).text


def test_an_interval_around_zero_is_no_gain() -> None:
    text = Page(rendered(RESULTS | {"gain": {"mean": -0.4, "low": -3.0, "high": 2.2}}, [])).text
    assert "−0.4 points" in text
    assert "the model shows no clear change" in text
    assert "which includes 0." in text
    alike = {"mean": 0.0, "low": -10.0, "high": 10.0, "method": "rule_of_three"}
    assert (
        "by the rule of three since all differences are equal"
        in Page(rendered(RESULTS | {"gain": alike}, [])).text
    )


def test_only_the_base_was_examined() -> None:
    text = Page(rendered(RESULTS | {"status": "incomplete", "after": None, "gain": None}, [])).text
    assert "48.2 % This is pass@1 before training" in text.replace("\xa0", " ")
    assert "This run is incomplete: a step stopped" in text


def test_a_long_text_is_clipped_and_says_where_the_rest_is() -> None:
    text = Page(rendered(RESULTS, [example("a" * 100_000 + "end")])).text
    assert "95,907 bytes more: veridistill view RUN" in text
    assert "aend" not in text


def test_equal_input_gives_an_equal_file(tmp_path: Path) -> None:
    first = page.write(tmp_path, contents()).read_bytes()
    again = page.write(tmp_path, contents(results=json.loads(json.dumps(RESULTS)))).read_bytes()
    assert first == again
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.write(tmp_path, Contents(RESULTS))
    before = (tmp_path / "report.html").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        page.write(tmp_path, Contents({}))
    assert (tmp_path / "report.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_summaries_count_fates() -> None:
    def candidate(index: int, outcome: Any, by: str | None, kept: bool = False) -> CandidateView:
        return CandidateView(index, outcome, by, kept, "", "")

    lost = (
        candidate(0, "malformed", "truncated"),
        candidate(1, "rejected", "factuality"),
        candidate(2, "rejected", "factuality"),
    )
    assert page.summary(ExampleView("0", "q", "", lost)) == "2 rejected by factuality; 1 malformed: truncated"
    assert (
        page.summary(ExampleView("0", "q", "", (*lost, candidate(3, "accepted", None, True))))
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
