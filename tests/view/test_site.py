"""The pages over HTTP: lists, filters, searches, paging, one entry in full, rounds, hostile text."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.view import runs
from tests.view.runs import Viewer
from veridistill.config import load
from veridistill.data.rundir import opened
from veridistill.view import search

HOSTILE = (
    "<script>document.title='owned'</script><img src=http://evil.example/x onerror=alert(1)>"
    "</div></main><a href='javascript:alert(1)'>go</a>{{ 7 * 7 }} &lt;b&gt; \u202e\x00 $\\href{javascript:alert(1)}{x}$"
)


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    with runs.viewer(runs.make(tmp_path_factory.mktemp("site") / "run")) as found:
        yield found


def following(page: str, rel: str) -> str | None:
    found = re.search(rf'<a rel="{rel}" href="([^"]*)"', page)
    return found[1].replace("&amp;", "&") if found else None


def walked(viewer: Viewer, path: str, rel: str = "next", what: str = "question") -> list[list[str]]:
    """The pages from `path` on, until there are no more."""
    base, pages = path.partition("?")[0], []
    while True:
        text = viewer.page(path)
        pages.append(runs.shown(text, what))
        onward = following(text, rel)
        if onward is None:
            return pages
        path = base + onward


def test_the_first_page_is_the_questions_of_the_latest_round(viewer: Viewer) -> None:
    answer = viewer.client.get("/")
    assert answer.url.path == "/1/questions"
    assert "130 questions" in answer.text


def test_pages_follow_one_another_without_a_gap_in_both_directions(viewer: Viewer) -> None:
    forward = walked(viewer, "/1/questions")
    assert [len(page) for page in forward] == [50, 50, 30]
    assert [*chain.from_iterable(forward)] == [f"q{number}" for number in range(130)]
    last = "/1/questions?after=100"
    assert list(reversed(walked(viewer, last, "prev")))[:2] == forward[:2]


def test_filters_are_joined(viewer: Viewer) -> None:
    def found(parameters: str) -> list[int]:
        return [int(one[1:]) for page in walked(viewer, f"/1/questions?{parameters}") for one in page]

    everything = range(130)
    assert found("domain=science") == [n for n in everything if n % 3 == 0]
    assert found("kept=no") == [n for n in everything if n % 5 == 0]
    assert found("by=factuality") == [n for n in everything if n % 10 == 0]
    assert found("outcome=rejected&by=factuality&domain=science") == [n for n in everything if n % 30 == 0]
    # Some candidate of the question is accepted, another ended by correctness; none is both.
    assert found("outcome=accepted&by=correctness") == []
    assert found("domain=nonsense") == []
    assert found("kept=no&q=basket7") == []
    assert found("domain=science&kept=no&q=apples") == [n for n in everything if n % 15 == 0]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("needle17", [17]),
        ("NEEDLE17", [17]),
        ("needle12*", [12, *range(120, 130)]),
        ('"apples are in basket3"', [3]),
        ('"are apples"', []),
        ("basket3 apples", [3]),
        ("basket3 needle3", []),  # not in the same text
        ("idle", []),  # reasoning is not searched
        ("nowhere", []),
        ('"unclosed basket4', []),
        ('unclosed" OR apples', []),
        ("basket4 NEAR apples", []),
        ("text:basket4", []),
        ("-basket4", [4]),
        ("+ * ( ^", []),
        ('""', []),
        ("basket4\x00", [4]),
    ],
)
def test_a_search_is_words_phrases_and_prefixes_and_nothing_else(
    viewer: Viewer, text: str, numbers: list[int]
) -> None:
    page = viewer.page(f"/1/questions?q={quote(text)}")
    assert [int(one[1:]) for one in runs.shown(page)] == numbers


def test_a_search_says_in_which_candidate_it_found(viewer: Viewer) -> None:
    assert "found in candidate 1<" in viewer.page("/1/questions?q=needle17")
    assert "found in candidate" not in viewer.page("/1/questions?q=basket17")


def test_a_search_that_runs_out_of_time_goes_on_from_there(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(search, "BUDGET", -1.0)
    monkeypatch.setattr(search, "LOOK", 30)
    pages = walked(viewer, "/1/questions?q=apples&domain=science&kept=no")
    assert len(pages) > 3
    assert [*chain.from_iterable(pages)] == [f"q{number}" for number in range(0, 130, 15)]
    back = walked(viewer, "/1/questions?q=apples&domain=science&kept=no&before=131", "prev")
    assert sorted(chain.from_iterable(back)) == sorted(chain.from_iterable(pages))


def test_a_question_in_full(viewer: Viewer) -> None:
    page = viewer.page("/1/question?id=q17&domain=math")
    assert "how many apples are in basket17" in page
    assert "Reasoning, 4 characters" in page
    assert "idle" in page
    assert "needle17" in page
    assert page.count("Looked at candidate 0.") == 2
    assert page.count("Looked at candidate 1.") == 2
    assert "rejected by correctness" in page
    assert following(page, "prev") == "/1/question?domain=math&id=q16"
    assert following(page, "next") == "/1/question?domain=math&id=q19"  # q18 is of science
    assert following(viewer.page("/1/question?id=q0"), "prev") is None


def test_long_candidates_are_shown_one_at_a_time(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veridistill.view.site.SHOWN_AT_ONCE", 10)
    kept = viewer.page("/1/question?id=q17")
    assert "Looked at candidate 1." in kept
    assert "Looked at candidate 0." not in kept
    assert "Looked at candidate 0." in viewer.page("/1/question?id=q17&c=0")


def test_the_exam_by_what_training_changed(viewer: Viewer) -> None:
    assert runs.shown(viewer.page("/1/exam"), "problem") == ["quiz%2Fp0", "quiz%2Fp1", "quiz%2Fp2"]
    assert runs.shown(viewer.page("/1/exam?flip=won"), "problem") == ["quiz%2Fp0"]
    assert runs.shown(viewer.page("/1/exam?flip=lost"), "problem") == ["quiz%2Fp1"]
    assert runs.shown(viewer.page("/1/exam?base=wrong&trained=right"), "problem") == ["quiz%2Fp0"]
    assert runs.shown(viewer.page("/1/exam?base=mixed"), "problem") == ["quiz%2Fp2"]
    assert runs.shown(viewer.page("/1/exam?q=pear2"), "problem") == ["quiz%2Fp2"]
    page = viewer.page("/1/problem?id=quiz/p1")
    assert page.count("base pear1") == 2
    assert page.count("after pear1") == 2
    assert "lost by training" in page


@pytest.mark.parametrize(
    "path",
    [
        "/2/questions",
        "/0/questions",
        "/1/question?id=none",
        "/1/question",
        "/1/problem?id=p0",
        "/1/none",
        "/x",
    ],
)
def test_what_is_not_there(viewer: Viewer, path: str) -> None:
    assert viewer.client.get(path).status_code == 404


@pytest.mark.parametrize(
    "start", ["after=-1", "after=x", "after=99999999999999999999", "before=0", "after=999999"]
)
def test_odd_addresses_of_pages(viewer: Viewer, start: str) -> None:
    assert viewer.client.get(f"/1/questions?{start}").status_code == 200


def test_hostile_text_is_inert(tmp_path: Path) -> None:
    with opened(tmp_path / HOSTILE[:8].replace("/", ""), load(None, ["model=any"])) as run:
        seed = runs.Seed(f"{HOSTILE} id", f"{HOSTILE} question", "math", f"{HOSTILE} source")
        found = [runs.judged(seed, 0, f"<think>{HOSTILE}</think>{HOSTILE} answer", "factuality")]
        runs.write_round(run, 1, [(seed, found)])
        entries = runs.replies(found)
        entries[-1] = runs.entry(seed.seed_id, "factuality", entries[-1].path, f"{HOSTILE}\n[[N]]")
        runs.journal(run, entries)
        runs.results(run, runs.MODEL)
    with runs.viewer(run) as viewer:
        question = f"/1/question?id={quote(seed.seed_id)}"
        for path in ("/1/questions", f"/1/questions?q={quote(HOSTILE)}", question, "/1/label"):
            page = viewer.page(path)
            assert not re.search(r"<(script(?! src=\"/static)|img|iframe|a href=.?javascript)", page)
            assert "owned" not in re.sub(r"<[^>]*>|&lt;script&gt;document.title=.*?&lt;/script&gt;", "", page)
            assert "\u202e" not in re.sub(r'<input type="(search|hidden)"[^>]*>', "", page)
            assert "\x00" not in page
            assert "49" not in page
        assert viewer.page(question).count("evil.example") >= 4


def test_rounds_can_be_switched_and_have_their_own_replies(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 4)
    seed = runs.question(1)
    found = [runs.judged(seed, 0, "Second round.", None)]
    runs.write_round(run, 2, [(seed, found)])
    runs.journal(run, runs.replies(found, "model-2"))
    runs.results(run, runs.MODEL, "model-2")
    with runs.viewer(run) as viewer:
        assert viewer.client.get("/").url.path == "/2/questions"
        assert runs.shown(viewer.page("/2/questions")) == ["q1"]
        assert len(runs.shown(viewer.page("/1/questions"))) == 4
        second, first = viewer.page("/2/question?id=q1"), viewer.page("/1/question?id=q1")
        assert 'href="/1/questions"' in second
        assert second.count("Looked at candidate 0.") == 2
        assert first.count("Looked at candidate 0.") == 2
        assert "Second round." not in first


def test_a_run_without_its_journal_shows_the_tables(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 3)
    run.journal.unlink()
    with runs.viewer(run) as viewer:
        page = viewer.page("/1/question?id=q1")
        assert "the journal is not there" in page
        assert "needle1" in page


def test_tables_that_are_replaced_are_not_taken_for_the_indexed_ones(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 8)
    with runs.viewer(run) as viewer:
        seed = runs.question(77)
        runs.write_round(run, 1, [(seed, [runs.judged(seed, 0, "Anew.", None)])])
        assert viewer.client.get("/1/questions").status_code == 503
        viewer.indexer.update()
        assert runs.shown(viewer.page("/1/questions")) == ["q77"]
        assert len(list((run.path / "view").glob("1-questions-*.sqlite"))) == 1
