"""Who may ask: the token, the cookie, the host, the origin, the methods, and what an answer carries."""

from collections.abc import Iterator

import pytest

from tests.view import runs
from tests.view.runs import Viewer

PATHS = ("/", "/1/questions", "/1/question?id=q1", "/1/exam", "/1/label", "/static/view.js", "/nowhere")


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    with runs.viewer(runs.make(tmp_path_factory.mktemp("guard") / "run", 12)) as found:
        yield found


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_the_cookie(viewer: Viewer, path: str) -> None:
    for cookie in (
        "",
        f"{viewer.keys.cookie_name}=guess",
        f"other={viewer.keys.cookie}",
        "=;;=",
        "a" * 9_000,
    ):
        answer = viewer.stranger.get(path, headers={"cookie": cookie})
        assert answer.status_code == 403
        assert "Question" not in answer.text


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_gets(viewer: Viewer) -> None:
    answer = viewer.stranger.get(viewer.keys.address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert viewer.keys.token not in cookie
    viewer.stranger.cookies.clear()
    for wrong in ("", "x", viewer.keys.token[:-1], viewer.keys.cookie, "é"):
        answer = viewer.stranger.get("/", params={"token": wrong})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_keys_are_new_at_each_start() -> None:
    one, other = runs.Keys(1), runs.Keys(1)
    assert len({one.token, one.cookie, one.form, other.token, other.cookie, other.form}) == 6


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:4321", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:4321.evil.example", ""],
)
def test_a_name_that_was_made_to_mean_this_machine_is_refused(viewer: Viewer, host: str) -> None:
    answer = viewer.client.get("/1/questions", headers={"host": host})
    assert answer.status_code == 400
    assert "basket" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", PATHS)
def test_everything_but_a_label_is_read_alone(viewer: Viewer, method: str, path: str) -> None:
    answer = viewer.client.request(method, path, headers={"origin": "http://127.0.0.1:4321"})
    assert answer.status_code == 405


def test_a_label_cannot_be_read(viewer: Viewer) -> None:
    assert viewer.client.get("/label").status_code == 405


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9", "https://127.0.0.1:4321", ""]
)
def test_a_page_elsewhere_can_set_no_label(viewer: Viewer, origin: str) -> None:
    assert viewer.label("q1", 0, "right", origin=origin).status_code == 403
    assert viewer.client.get("/1/questions", headers={"origin": origin or "x"}).status_code == 403
    assert not (viewer.run.path / "labels.jsonl").exists()


def test_a_label_without_origin_form_key_or_cookie_is_refused(viewer: Viewer) -> None:
    form = {"key": viewer.keys.form, "round": 1, "id": "q1", "candidate": 0, "word": "right"}
    assert viewer.client.post("/label", data=form).status_code == 403
    assert runs.label(viewer.client, "guess", "q1", 0, "right").status_code == 403
    assert runs.label(viewer.client, viewer.keys.cookie, "q1", 0, "right").status_code == 403
    viewer.stranger.cookies.clear()
    assert runs.label(viewer.stranger, viewer.keys.form, "q1", 0, "right").status_code == 403
    assert not (viewer.run.path / "labels.jsonl").exists()


@pytest.mark.parametrize("path", [*PATHS, "/1/question?id=none"])
def test_every_answer_forbids_what_the_page_does_not_need(viewer: Viewer, path: str) -> None:
    for client in (viewer.client, viewer.stranger):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_form_key_is_on_no_page_of_a_stranger(viewer: Viewer) -> None:
    viewer.stranger.cookies.clear()
    assert viewer.keys.form not in viewer.stranger.get("/1/label").text
    assert viewer.keys.form in viewer.page("/1/label")


def test_static_files_are_these_two(viewer: Viewer) -> None:
    assert viewer.client.get("/static/view.css").headers["content-type"].startswith("text/css")
    for name in ("frame.html.j2", "__init__.py", "..%2fguard.py", "../guard.py"):
        assert viewer.client.get(f"/static/{name}").status_code == 404
