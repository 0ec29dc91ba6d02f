"""A model's text as HTML: whatever it says, it becomes text, formulas and coloured code, and nothing else."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veridistill.report import mathml as formulas
from veridistill.report.highlight import highlighted
from veridistill.report.mathml import mathml
from veridistill.report.render import clip, line, prose, reply, source, visible

ELEMENTS = {"div", "p", "pre", "span", "code", "details", "summary"} | set(formulas._ELEMENTS)
ATTRIBUTES = {"class", "dir", "mathvariant"} | set(formulas._WORDS) | set(formulas._LENGTHS)
CLASSES = {"text", "text empty", "rest", "reasoning", "hc", "hk", "hs", "hn", "hf"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\text{<script>alert(1)</script>}$",
    r"\(\text{</math><img src=x onerror=alert(1)>}\)",
    r"$\style{background:url(http://evil.test/)}{x}$",
    r"$\class{text}{x}$",
    r"$\unicode{x3c}script\unicode{x3e}$",
    r"$\color{url(http://evil.test/)}{x}$",
    r"$\def\a{\a\a}\a$",
    r"$\textcolor{red\" onclick=\"alert(1)}{x}$",
    r"\[\begin{array}{c\" style=\"x}a\end{array}\]",
    r"$&#x3c;script&#x3e; \text{&lt;b&gt;}$",
    "```html\n</pre></div><script>alert(1)</script>\n```",
    "```python\"><script>\nprint('</span><script>')\n```",
    "<think>$\\text{</details>}$</details></think><iframe src=//evil.test>",
    "\x00\x1b[31m\u202egnp.exe\u2066\ufeff\ud800",
    "javascript:alert(1) [a](javascript:alert(1)) <!-- --> ]]> {{ 7*7 }} {% raw %}",
]  # fmt: skip


class Page(HTMLParser):
    """Every element with its attributes, and whether all that were opened are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")


def inert(html: str) -> Page:
    page = Page(html)
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag in ELEMENTS, tag
        assert set(attributes) <= ATTRIBUTES, attributes
        assert attributes.get("class", "text") in CLASSES
        assert all(re.fullmatch(r"[\w .+-]*", str(value)) for value in attributes.values()), attributes
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    return page


PIECES = st.sampled_from(
    [*HOSTILE, "$", "$$", r"\(", r"\)", r"\[", r"\]", "`", "```", "```py\n", "~~~", "\n", " ", "{", "}", "<", ">", "&",
     "<think>", "</think>", r"\frac", r"\text{", r"\left(", "^", "_", r"\\", r"\begin{aligned}", r"\end{aligned}", "%",
     "\u202e", "\ud800", "é", "1", "x", "'", '"']
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.text(st.characters()), st.lists(PIECES, max_size=40).map("".join))


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.one_of(st.none(), st.integers(0, 200)))
def test_no_text_becomes_anything_but_text_formulas_and_code(text: str, limit: int | None) -> None:
    for made in (prose(text, limit), reply(text, limit), source(text, limit), line(text)):
        inert(made)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_readable_and_do_nothing(text: str) -> None:
    page = inert(reply(text))
    assert not {tag for tag, _ in page.elements} & {"script", "img", "svg", "iframe", "a"}
    if (
        text.isascii()
        and "$" not in text
        and "\\" not in text
        and "```" not in text
        and "<think>" not in text
    ):
        assert "".join(page.words) == text


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_source_shows_every_character(text: str) -> None:
    shown = "".join(Page(source(text, None)).words)
    assert shown == (visible(text) if visible(text).strip() else "(empty)")


@settings(max_examples=300, deadline=None)
@given(st.text(), st.integers(0, 50))
def test_a_clip_is_whole_characters_within_the_limit_and_says_what_is_left(text: str, limit: int) -> None:
    shown, left = clip(text, limit)
    size = (
        len(text.encode("utf-8", "replace"))
        if "\ud800" <= max(text, default="") <= "\udfff"
        else len(text.encode())
    )
    assert len(shown.encode()) <= limit
    assert left >= 0
    if left == 0:
        assert len(shown.encode()) >= min(size, limit) or shown == clip(text, None).text
    else:
        assert clip(text, None).text.startswith(shown)
        assert len(shown.encode()) > limit - 4
        assert len(shown.encode()) + left == len(clip(text, None).text.encode())


def test_a_clipped_text_says_where_the_rest_is() -> None:
    made = prose("é" * 3_000, 4_096)
    assert made.count("é") == 2_048
    assert "1,904 bytes more" in made
    assert "veridistill view RUN" in made
    assert "rest" not in prose("é" * 2_048, 4_096)


def test_reasoning_is_folded_and_both_parts_have_the_limit() -> None:
    made = reply("<think>" + "a" * 5_000 + "</think>" + "b" * 5_000, 4_096)
    assert made.startswith('<details class="reasoning"><summary>Reasoning, 5,000 characters</summary>')
    assert made.count("a" * 4_096) == 1
    assert made.count("b" * 4_096) == 1
    assert made.count("904 bytes more") == 2


def test_reasoning_that_never_ends_is_all_there_is() -> None:
    made = reply("<think>and so on")
    assert "Reasoning (never closed), 9 characters" in made
    assert "and so on" in made
    assert "(empty)" not in made


def test_reasoning_whose_opening_stands_in_the_prompt_is_folded_too() -> None:
    assert "Reasoning, 5 characters" in reply("hmm …</think>42")
    assert "Reasoning" not in reply("</think>42")


@pytest.mark.parametrize(
    ("text", "formulas_in_it"),
    [
        ("$x$", 1), (r"\(x\) and \[y\] and $$z$$", 3), ("costs $5 and $6", 0), ("$5/$6", 0), (r"\$x\$", 0),
        ("$ x $", 0),
        ("`$x$`", 0), ("US$10 then $x+1$.", 1), ("$a\n\nb$", 0), ("$x", 0), ("x$", 0), ("$$", 0), (r"\[x", 0),
        ("$x$-axis, $y$-axis", 2), ("```\n$x$\n```", 0), (r"\(x\]", 0), ("$" + "x" * 3_000 + "$", 0),
    ],
)  # fmt: skip
def test_what_counts_as_a_formula(text: str, formulas_in_it: int) -> None:
    assert prose(text).count("<math ") == formulas_in_it


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\frac{1}{2}", "<mfrac>"), (r"\boxed{7}", '<menclose notation="box">'), (r"\mathbb{R}", "ℝ"), ("50%", "%"),
        (r"\mathbf{ab}", "\N{MATHEMATICAL BOLD SMALL A}"), (r"a<b", "&lt;"),
        (r"\begin{cases}a&b\\c&d\end{cases}", "<mtr>"),
        (r"\begin{aligned}a&=b\\c&=d\end{aligned}", "<mtd"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "<mtable>"),
        (r"\text{if } x", "if"), (r"\sqrt[3]{x}", "<mroot>"), (r"\sum_{i=1}^n i", "<munderover>|<msubsup>"),
    ],
)  # fmt: skip
def test_usual_mathematics_is_mathml(latex: str, expected: str) -> None:
    made = mathml(latex, block=True)
    assert made is not None
    assert re.search(expected, made), made


@pytest.mark.parametrize(
    "latex",
    ["", " ", r"\frac{1}", r"\unknowncommand", "{" * 900, r"\href{a}{b}", r"\style{a}{b}", r"\def\a{b}\a",
     r"\phantom{x}",
     r"\left(", "x^2^3", r"\newcommand{\a}{b}"],
)  # fmt: skip
def test_what_is_no_safe_formula_is_refused(latex: str) -> None:
    assert mathml(latex) is None


def test_a_formula_cannot_move_things_far() -> None:
    assert (
        mathml(r"\hspace{-50em}x") == '<math display="inline"><mrow><mspace></mspace><mi>x</mi></mrow></math>'
    )
    assert 'width="1em"' in str(mathml(r"\hspace{1em}x"))


def test_colours_and_classes_of_a_formula_are_left_out() -> None:
    assert mathml(r"\color{red}x") == '<math display="inline"><mrow><mstyle><mi>x</mi></mstyle></mrow></math>'


def test_code_is_coloured_in_known_languages_alone() -> None:
    assert highlighted("def f(): return 1", "python").startswith('<span class="hk">def </span>')
    assert highlighted("def f(): <b>", "brainfuck") == "def f(): &lt;b&gt;"
    assert highlighted("x" * 30_000, "python") == "x" * 30_000


def test_a_fence_that_never_closes_holds_the_rest_and_a_longer_one_holds_shorter_ones() -> None:
    assert prose("a\n```\nb\n$x$") == '<div class="text" dir="auto">a<pre>b\n$x$</pre></div>'
    assert prose("````\n```\na\n```\n````\nb").count("<pre>") == 1


def test_hidden_characters_are_shown_as_their_code() -> None:
    assert visible("a\u202eb\x07c\r\nd\te\u200b") == "a⟨U+202E⟩b⟨U+0007⟩c\nd\te⟨U+200B⟩"


def test_a_heading_is_one_line() -> None:
    assert line("one\ntwo  three", 100) == "one two three"
    assert line("word " * 100, 20) == "word word word word …"
    assert line("<b>") == "&lt;b&gt;"
    assert line("find $$x$$ and $y") == 'find <math display="inline"><mrow><mi>x</mi></mrow></math> and $y'


def test_an_answer_in_a_bare_box_is_a_formula_and_a_displayed_one_has_no_empty_lines_around_it() -> None:
    assert "<menclose" in prose(r"so \boxed{\frac{1}{2}}.".replace("\\\\", "\\"))
    made = prose("so\n$$x$$\nand")
    assert "so<math" in made
    assert "</math>and" in made


def _work(text: str) -> int:
    """Calls of Python functions, which tell how much was done where a clock would tell how busy the machine is."""
    import sys

    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        reply(text, None)
    finally:
        sys.setprofile(None)
    return calls


def _patterns() -> Iterator[str]:
    yield from (
        r"\[",
        r"\(x",
        "$x",
        "$$",
        "$a$",
        "`a",
        "```\n",
        "{",
        "$x^{",
        "<think>",
        "</think>",
        "\u202e",
        "a\\",
        "$\n\n$",
    )


@pytest.mark.parametrize("pattern", list(_patterns()), ids=repr)
def test_the_work_grows_no_faster_than_the_text(pattern: str) -> None:
    reply(pattern * 10, None)
    small, large = (_work(pattern * (size // len(pattern))) for size in (2_000, 8_000))
    assert large <= 5 * small + 500
