"""Where the answer stands: tables per domain, and what a hostile text must not cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridistill import prompts
from veridistill.decide import defect
from veridistill.domains import DOMAINS, code, math, science
from veridistill.records import Completion, Domain

MATH = [
    (r"so \boxed{42}", "42"),
    (r"\boxed{1} then \boxed{2}", "2"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\left\{x\right.}", r"\left\{x\right."),
    (r"\boxed{ 5 }", "5"),
    (r"\boxed {5}", "5"),
    (r"\boxed{5} and \boxed{}", "5"),
    (r"\boxed{5} and \boxed{\text{ }}", "5"),
    (r"\boxed{5} and \boxed{7", "5"),
    (r"\boxed{5 and so \boxed{6}", "6"),
    (r"\boxed{x = \boxed{5}}", "5"),
    (r"{ } } \boxed{5} {", "5"),
    (r"\boxed 5", "5"),
    (r"\boxed5.", "5"),
    (r"\boxed -12,345 $", "-12,345"),
    (r"\boxed x", "x"),
    (r"\boxed xyz", None),
    (r"\fbox{9}", "9"),
    (r"\\boxed{9}", "9"),
    (r"line \\\boxed{9}", "9"),
    (r"\boxed{3}, not \boxed 4", "4"),
    (r"\boxed 4, not \boxed{3}", "3"),
    (r"\boxedx{3}", None),
    (r"boxed{3}", None),
    (r"\boxed{}", None),
    (r"\boxed{ \, {} }", None),
    (r"\boxed{", None),
    (r"\boxed", None),
    ("\\boxed{a\nb}", "a\nb"),
    ("\\boxed{a\u2028b}", "a\u2028b"),
    ("the answer is 42", None),
    ("", None),
    ("\\", None),
]


@pytest.mark.parametrize(("text", "expected"), MATH)
def test_math(text: str, expected: str | None) -> None:
    assert math.answer_of(text) == expected


SCIENCE = [
    (r"\boxed{B}", "B"),
    (r"\boxed{b}", "B"),
    (r"\boxed{\text{(B)}}", "B"),
    (r"\boxed{\mathbf{B}}", "B"),
    (r"\boxed{\text{B.}}", "B"),
    (r"\boxed{3.2\,\mathrm{eV}}", r"3.2\,\mathrm{eV}"),
    ("Because of that.\nAnswer: C", "C"),
    ("**Answer:** (C)", "C"),
    ("**Final answer: C.**", "C"),
    ("The correct answer is: D\n\n", "D"),
    ("Answer: 12 J\n", "12 J"),
    ("Answer: A\nNo, that is wrong; it is B.", None),
    ("Answer: A\nAnswer: B", "B"),
    ("I give a reason", None),
    ("The answer is a matter of taste", None),
    ("Answer:", None),
    ("Answer: **", None),
    (r"\boxed{C}" + "\nAnswer: A", "C"),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), SCIENCE)
def test_science(text: str, expected: str | None) -> None:
    assert science.answer_of(text) == expected


CODE = [
    ("```python\nprint(1)\n```", "print(1)"),
    ("```\nprint(1)\n```\n", "print(1)"),
    ("~~~py\nprint(1)\n~~~", "print(1)"),
    ("```python\na\n```\ntext\n```python\nb\n```", "b"),
    ("```python\na\n```\n```\n\n```", "a"),
    ("```python\na\n```\n```python\nb", "a"),
    ("```python\nprint(1)", None),
    ("````md\n```python\na\n```\n````", "```python\na\n```"),
    ("```python\ns = '''\n```text\n'''\n```", "s = '''\n```text\n'''"),
    ("```python\r\na\r\n\r\nb\r\n```\r\n", "a\n\nb"),
    ("  ```python\n  if x:\n    y\n  ```", "if x:\n  y"),
    ("```a```", None),
    ("use `x` and ``y``", None),
    ("```python\n    indented\n```", "    indented"),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), CODE)
def test_code(text: str, expected: str | None) -> None:
    assert code.answer_of(text) == expected


@given(
    st.lists(
        st.sampled_from([r"\boxed{", r"\boxed", "{", "}", "\\", r"\{", r"\}", "5", " ", "x"]), max_size=20
    )
)
def test_math_finds_balanced_boxes_alone(parts: list[str]) -> None:
    """Whatever is found stands in the text and is not blank."""
    text = "".join(parts)
    found = math.answer_of(text)
    assert found is None or (found in text and found.strip())


@given(st.text("ab\\{} 1", max_size=20), st.text("ab{\\ ", max_size=10))
def test_a_box_at_the_end_is_the_answer(before: str, after: str) -> None:
    if not before.endswith("\\"):
        assert math.answer_of(before + r"\boxed{42}" + after.replace("}", "")) == "42"


@given(st.lists(st.sampled_from(["x", " y = 1", "", "# ``", "é"]), min_size=1, max_size=5))
def test_code_comes_back_line_by_line(lines: list[str]) -> None:
    body = "\n".join(lines)
    assert code.answer_of(f"Here:\n```python\n{body}\n```\nDone.") == (body if body.strip() else None)


MEGABYTE = 1_000_000
HOSTILE = [
    r"\boxed{" + "x" * MEGABYTE + "}",
    r"\boxed{" + "{}" * (MEGABYTE // 2) + "}",
    r"\boxed{" * (MEGABYTE // 7),
    r"\boxed{" * (MEGABYTE // 14) + "}" * (MEGABYTE // 14),
    "\\" * MEGABYTE,
    r"\boxed" + " " * MEGABYTE,
    "\\boxed{" + "\\ " * (MEGABYTE // 2) + "x}",
    "Answer" + " " * MEGABYTE + "x",
    " " * MEGABYTE + "x",
    "answer:" + "*" * MEGABYTE + "x",
    "```\n" * (MEGABYTE // 4),
    "`" * MEGABYTE,
    " ```" + " " * MEGABYTE,
    r"\boxed{" + "$" + " " * MEGABYTE + "}",
    r"\boxed{" + "(" + " " * MEGABYTE + "!}",
    r"\boxed{" + "$" + " " * MEGABYTE + "!}",
    r"\boxed{" + "A" + " " * MEGABYTE + "!}",
]


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_a_megabyte_of_hostile_text_comes_to_an_end(domain: Domain, index: int) -> None:
    # In quadratic time one of these would take hours.
    assert DOMAINS[domain].answer_of(HOSTILE[index]) != ""


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_has_its_own_template(domain: Domain) -> None:
    texts = prompts.load("thinking")
    assert DOMAINS[domain].solve(texts) == getattr(texts, f"solve_{domain}")


DEFECTS: list[tuple[Domain, str, str | None]] = [
    ("math", "<think>\\boxed{1}</think>\nIt is \\boxed{2}.", None),
    ("math", "<think>\\boxed{1}</think>\nIt is 2.", "no_answer"),
    ("math", "<think>\\boxed{1}", "open_reasoning"),
    ("math", "It is \\boxed{2}.", "no_reasoning"),
    ("math", "<think>x</think>\\boxed{...}", "filler"),
    ("science", "<think>Answer: A</think>I refuse.", "no_answer"),
    ("science", "<think>x</think>Answer: B", None),
    ("code", "<think>```\nx\n```</think>No code.", "no_answer"),
    ("code", "<think>x</think>```python\nprint(1)\n```", None),
]


@pytest.mark.parametrize(("domain", "text", "expected"), DEFECTS)
def test_the_static_check_reads_the_text_after_the_reasoning(
    domain: Domain, text: str, expected: str | None
) -> None:
    reply = Completion(text, "stop", 1, 1)
    assert defect(reply, DOMAINS[domain].answer_of, reasoning=True) == expected
