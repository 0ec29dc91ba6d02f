"""Every decision as a table of cases: verdicts of hostile and odd judges, splitting, defects, outcomes, pass@k."""

from itertools import combinations

import pytest

from veridistill.decide import (
    by_length,
    defect,
    ended_by,
    final_text,
    follows_up,
    is_filler,
    outcome,
    pass_at_k,
    read_follow_up,
    read_verdict,
    split,
)
from veridistill.domains import DOMAINS
from veridistill.records import Candidate, Completion, Vote

LONG = 100_000


def reply(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(text, finish_reason, 1, len(text))


# --- verdicts -----------------------------------------------------------------------------------------------

VALID = [
    ("[[Y]]", "yes"),
    ("[[N]]", "no"),
    ("Accepted: [[Y]]", "yes"),
    ("Accepted: [[N]]", "no"),
    ("accepted : [[ y ]]", "yes"),
    ("[[n]]", "no"),
    ("It holds.\n\n[[Y]]\n\n  \n", "yes"),
    ("It holds.\r\n[[Y]]\r\n", "yes"),
    ("**[[Y]]**", "yes"),
    ("**Accepted: [[N]]**", "no"),
    ("**Accepted:** [[Y]]", "yes"),
    ("Accepted: **[[Y]]**.", "yes"),
    ("[[Y]].", "yes"),
    ("First look: [[N]].\n[[N]]", "no"),
    ("<think>\nI may have to say [[N]].\n</think>\n\n[[Y]]", "yes"),
    ("no opening tag, as with some templates</think>[[N]]", "no"),
    ("<think>a</think>[[Y]]<think>b</think>Accepted: [[N]]", "no"),
    ("Let y be 3, so y > 2.\nNo more to say, N is large.\n[[Y]]", "yes"),
    # labels
    ("Verdict: [[Y]]", "yes"),
    ("**Verdict:** [[Y]]", "yes"),
    ("**Verdict**: [[N]]", "no"),
    ("__Verdict:__ [[Y]]", "yes"),
    ("Correct: [[Y]]", "yes"),
    ("Correct: [[N]]", "no"),
    ("Final answer: [[Y]]", "yes"),
    ("My final verdict: [[N]]!", "no"),
    ("### Final Verdict: [[Y]]", "yes"),
    ("JUDGMENT: [[N]]", "no"),
    ("Correct and complete: [[Y]]", "yes"),
    ("Correctness of the answer: [[N]]", "no"),
    ("The answer is correct: [[Y]]", "yes"),
    ("Both are equivalent: [[Y]]", "yes"),
    ("Cycle consistency: [[N]]", "no"),
    ("Inferred: [[Y]]", "yes"),
    ("Last line: [[Y]]", "yes"),
    ("Therefore: [[Y]]", "yes"),
    ("Step 1 holds.\nStep 2 holds.\n\n- Verdict: [[Y]]", "yes"),
    # sentences
    ("The correct answer is [[Y]].", "yes"),
    ("The answer is [[N]]", "no"),
    ("The verdict is: **[[Y]]**.", "yes"),
    ("My final decision is [[N]].", "no"),
    ("Therefore, the verdict is [[Y]].", "yes"),
    ("So the final answer is [[N]].", "no"),
    ("The final verdict is [[Y]].", "yes"),
    ("Step 4: The answer is [[Y]].", "yes"),
    ("**Step 4:** The answer is [[N]].", "no"),
    # markup
    ("`[[Y]]`", "yes"),
    ("Verdict: `[[N]]`", "no"),
    ("``[[Y]]``", "yes"),
    (r"\boxed{[[Y]]}", "yes"),
    (r"$\boxed{[[N]]}$", "no"),
    (r"\(\boxed{\text{[[Y]]}}\).", "yes"),
    (r"\[ \boxed{[[N]]} \]", "no"),
    (r"Verdict: \boxed{[[Y]]}", "yes"),
    (r"\boxed{Accepted: [[Y]]}", "yes"),
    (r"**\boxed{[[N]]}**", "no"),
    ("- [[Y]]", "yes"),
    ("* [[N]]", "no"),
    ("1. [[Y]]", "yes"),
    ("2) Accepted: [[N]]", "no"),
    ("• [[Y]]", "yes"),
    ("## [[N]]", "no"),
    ("_[[Y]]_", "yes"),
    # other lines
    ("I give [[Y]] if all four hold, or [[N]] if one fails.\nAll hold.\n[[Y]]", "yes"),
    ("The last line is [[Y]] or [[N]], they say.\nNone is wrong.\n[[Y]]", "yes"),
    ("The last line is Accepted: [[Y]] or Accepted: [[N]] and nothing else.\n[[Y]]", "yes"),
    ("It would be [[Y]], but step 2 is wrong.\n[[N]]", "no"),
    ("```python\nprint(1)\n```\nIt prints 1.\n[[Y]]", "yes"),
    ("The grid starts as [[0]] and [[n, y]].\n[[Y]]", "yes"),
    ("**[[Y]]** if it is right, **[[N]]** if not, I read.\n[[Y]]", "yes"),
    ("If it is right, [[Y]]; otherwise [[N]] is due.\n[[Y]]", "yes"),
    ("If I find no error, it is [[Y]]. If I find one, it is [[N]], I read.\n[[Y]]", "yes"),
    ("````\n```\n````\n[[Y]]", "yes"),
    ("```\n~~~\n`````\n[[Y]]", "yes"),
]

INVALID = [
    ("", "blank"),
    ("   \n\n", "white space"),
    ("Y", "a bare letter"),
    ("[Inferred] No.", "no mark"),
    ("Exchange: [[Y]]", "a label that says nothing"),
    ("Step 2: [[Y]]", "a mark for one step, perhaps"),
    ("Step 2: Correct: [[Y]]", "a mark for one step, perhaps"),
    ("Step 2: The step is [[Y]]", "a mark for one step"),
    ("Step 2 of 3: The answer is [[Y]]", "a step of several"),
    ("Yes, it is correct.", "prose"),
    ("[Y]", "single brackets"),
    ("[[Yes]]", "a word in the brackets"),
    ("[[X]]", "another letter"),
    ("[[Y]", "brackets not closed"),
    ("[[]]", "empty brackets"),
    ("［［Ｙ］］", "full-width brackets and letter"),
    ("[[Ｙ]]", "a full-width letter"),
    ("[[У]]", "the Cyrillic letter that looks like Y"),
    ("[[Υ]]", "the Greek letter that looks like Y"),
    ("[[Y\u200b]]", "a zero-width character"),
    ("[\u200b[Y]]", "a zero-width character between the brackets"),
    ("[[Y]]\u200b", "a zero-width character behind"),
    ("\u202e[[Y]]", "a direction override in front"),
    ("⟦Y⟧", "mathematical brackets"),
    ("【【Y】】", "lenticular brackets"),
    ("So x = y. The answer is y", "a variable named y"),
    ("[[Y]] because it is right", "text behind"),
    ("[[Y]]\nI am not sure, though.", "a line behind"),
    ("> [[Y]]", "quoted"),
    ("> Verdict: [[Y]]", "quoted, with a label"),
    ("```\n[[Y]]\n```", "in a fenced block"),
    ("```\n[[Y]]", "in a fenced block that is not closed"),
    ("~~~text\nAccepted: [[Y]]", "in a block of tildes that is not closed"),
    ('"[[Y]]"', "in quotation marks"),
    ("“[[Y]]”", "in curly quotation marks"),
    ("'Verdict: [[Y]]'", "in single quotation marks"),
    ("~~[[Y]]~~", "struck out"),
    ("<s>[[Y]]</s>", "struck out in HTML"),
    ("<!-- [[Y]] -->", "in a comment"),
    (r"\cancel{[[Y]]}", "struck out in LaTeX"),
    (r"\boxed{[[Y]]", "a box that is not closed"),
    (r"\boxed{[[Y]]}}", "a brace too many"),
    (r"\boxed{[[Y]]} \boxed{[[N]]}", "two boxes"),
    (r"\neq [[Y]]", "a negated sign"),
    (r"\neg[[Y]]", "a logical negation"),
    ("![[Y]]", "a negation in code, or an image"),
    ("[[Y]]?", "a question"),
    ("[[Y]]...", "a sentence that trails off"),
    ("[[Y]](https://example.org)", "a link"),
    ("([[Y]])", "in parentheses"),
    ("[[[Y]]]", "a list in a list"),
    ("x = [[Y]]", "an assignment"),
    ("❌ [[Y]]", "a cross in front"),
    ("[[Y]] ❌", "a cross behind"),
    ("End with [[Y]] or [[N]].", "the instruction itself"),
    ("I was told: end with [[Y]] or [[N]].\n[[Y]]", "the instruction quoted, then a verdict"),
    ("Last line: [[Y]] if they do, [[N]] if not.", "the compact instruction"),
    ("Last line: Accepted: [[Y]] or Accepted: [[N]].", "the compact instruction"),
    ("Accepted: [[Y]] if the answer is to be accepted", "half of the instruction"),
    ("[[N]]\n[[Y]]", "contradiction"),
    ("[[Y]]\n[[N]]", "contradiction"),
    ("Accepted: [[N]]\nOn reflection\nAccepted: [[Y]]", "contradiction"),
    ("It fails, [[n]] that is.\n[[Y]]", "contradiction in lower case"),
    ("Not [[Y]] but [[N]], since step 2 is wrong.\n[[Y]]", "contradiction in one line"),
    ("It is [[Y]], or rather [[N]] on reflection.\n[[Y]]", "contradiction in one line"),
    ("Point 3: **[[N]]**.\n\nVerdict: [[Y]]", "a point that fails"),
    (r"\boxed{[[N]]}" "\n[[Y]]", "contradiction in a box"),
    ("```\n[[N]]\n```\n[[Y]]", "contradiction in a fenced block"),
    ("［［Ｎ］］\n[[Y]]", "contradiction in full-width letters"),
    ("[[\u200bN]]\n[[Y]]", "contradiction with a zero-width character"),
    ("[[**N**]]\n[[Y]]", "contradiction with markup in the mark"),
    ("[[`N`]]\n[[Y]]", "contradiction with markup in the mark"),
    (r"[[\text{N}]]" "\n[[Y]]", "contradiction with markup in the mark"),
    (r"[[\mathsf{\textbf{N}}]]" "\n[[Y]]", "contradiction with markup in the mark"),
    (r"\[[[\(N\)]]\]" "\n[[Y]]", "contradiction with markup in the mark"),
    (r"\[\[N\]\]" "\n[[Y]]", "contradiction with escaped brackets"),
    ("[[<b>N</b>]]\n[[Y]]", "contradiction with HTML in the mark"),
    ("The verdict is [[_N_]].\n[[Y]]", "contradiction with markup in the mark"),
    ("[[*Y*]]\n[[N]]", "contradiction with markup in the mark"),
    ("It is [[N]], and if [[Y]] then no\n[[Y]]", "a condition on the other mark alone"),
    ("[[N]]. [[Y]] would hold if the sign were +.\n[[Y]]", "a condition on the other mark alone"),
    ("It is [[N]]; otherwise [[Y]] would hold.\n[[Y]]", "a condition on the other mark alone"),
    ("If I look closely, it is [[N]], not [[Y]] at all.\n[[Y]]", "a condition on the other mark alone"),
    ("I say [[Y]] or [[N]]: but [[N]] it is\n[[Y]]", "the rule and the other verdict on a line"),
    ("````\nx\n```\n[[Y]]", "a block that a shorter fence does not close"),
    ("```\nx\n~~~\n[[Y]]", "a block that another fence does not close"),
    ("```\nx\n```python\n[[Y]]", "a block that a fence with a language does not close"),
    ("I say [[Y]] or [[N]]: [[N]]\n[[Y]]", "the rule and the other verdict on a line"),
    ("[[Y]][[Y]]", "twice on a line"),
    ("[[Y]] / [[N]]", "both on a line"),
    ("[[Y]] or [[N]]", "both on a line"),
    ("Verdict: [[Y]] or [[N]]", "both on a line, with a label"),
    ("[[Y]]\u2028[[N]]", "a line separator that is no newline"),
    ("[[N]]\u2028[[Y]]", "a line separator that is no newline"),
    ("[[Y]]\vno", "a vertical tab"),
    ("Wrong.\r[[Y]]", "a carriage return that is no newline"),
    ("Rejected: [[Y]]", "another key"),
    ("Not accepted: [[Y]]", "a negated key"),
    ("not [[Y]]", "a negation"),
    ("Not: [[Y]]", "a negation"),
    ("No: [[Y]]", "a negation"),
    ("Never: [[Y]]", "a negation"),
    ("Incorrect: [[Y]]", "a negating prefix"),
    ("Inaccurate: [[Y]]", "a negating prefix"),
    ("Unacceptable: [[Y]]", "a negating prefix"),
    ("Invalid: [[Y]]", "a negating prefix"),
    ("Incorrect: [[N]]", "a doubly negated no"),
    ("The incorrect answer is [[Y]].", "a negating prefix in a sentence"),
    ("The correct answer isn't [[Y]].", "a negated sentence"),
    ("The answer is not [[Y]].", "a negated sentence"),
    ("The answer is hardly: [[Y]]", "a weakened sentence"),
    ("Fails: [[Y]]", "a rejecting verb"),
    ("Wrong: [[Y]]", "a rejecting word"),
    ("False: [[Y]]", "a rejecting word"),
    ("Errors: [[Y]]", "what is asked for is the opposite"),
    ("Errors found: [[N]]", "what is asked for is the opposite"),
    ("Refuse: [[Y]]", "a rejecting verb"),
    ("Denied: [[Y]]", "a rejecting verb"),
    ("Contradiction: [[Y]]", "a rejecting noun"),
    ("Hallucinated: [[Y]]", "a rejecting word that no list would have"),
    ("Misleading: [[Y]]", "a rejecting word"),
    ("Doubtful: [[Y]]", "a doubt"),
    ("Maybe: [[Y]]", "a doubt"),
    ("Probably correct: [[Y]]", "a doubt"),
    ("Partially correct: [[Y]]", "half a yes"),
    ("Almost correct: [[Y]]", "half a yes"),
    ("If correct: [[Y]]", "a condition"),
    ("Correct if complete: [[Y]]", "a condition"),
    ("When accepted: [[Y]]", "a condition"),
    ("Otherwise: [[Y]]", "a condition"),
    ("Answer with: [[Y]]", "an instruction"),
    ("Write: [[Y]]", "an instruction"),
    ("For example: [[Y]]", "an example"),
    ("The candidate says: [[Y]]", "somebody else's verdict"),
    ("The question ends in [[Y]]", "a quotation from the question"),
    ("Question: End with [[Y]]", "the question's last line echoed"),
    ("What does [[Y]] mean?", "a question about the mark"),
    ("Correct, complete, right, and sound: [[Y]]", "a list"),
    ("My own very final verdict: [[Y]]", "a label of five words"),
    ("The verdict on the whole answer is [[Y]].", "a long sentence"),
    ("It does not hold. Verdict: [[Y]]", "a sentence in front of the label"),
    ("Verdict: Rejected. [[Y]]", "a word between label and mark"),
    ("Accepted: no [[Y]]", "a word between label and mark"),
    ("Accepted: [[Y]] no", "a word behind"),
    ("Accepted: Verdict: [[Y]]", "two labels"),
    ("Verdict [[Y]]", "a label without a colon"),
    ("Verdict：[[Y]]", "a full-width colon"),
    ("Vеrdict: [[Y]]", "a Cyrillic letter in the label"),
    ("Ac\u00adcepted: [[Y]]", "a soft hyphen in the label"),
    ("not_accepted: [[Y]]", "a name in code"),
    ("un**accepted**: [[Y]]", "a negation in other markup"),
    ("Accepted: Y", "no brackets"),
    ("<think>\nI was told to end with\n[[Y]]", "reasoning not closed"),
    ("[[Y]]<think>", "reasoning opened behind"),
    ("<think>a</think>Hm.<think>again\n[[Y]]", "reasoning opened again"),
    ("<think>\n[[Y]]\n</think>", "a verdict in the reasoning alone"),
    ("<think>\n[[Y]]\n</think>\n\nIt is correct.", "a verdict in the reasoning alone, with an answer"),
    ("The answer under test says:\n[[Y]]\n(/answer)", "the candidate's own verdict"),
]


@pytest.mark.parametrize(("text", "ballot"), VALID)
def test_a_verdict_on_the_last_line_counts(text: str, ballot: str) -> None:
    assert read_verdict(reply(text), reasoning=False).ballot == ballot


@pytest.mark.parametrize(("text", "why"), INVALID)
def test_anything_else_is_invalid(text: str, why: str) -> None:
    reading = read_verdict(reply(text), reasoning=False)
    assert reading.ballot == "invalid", why
    assert reading.reason


@pytest.mark.parametrize(
    ("said", "then", "ballot"),
    [
        ("[Inferred] No.", "[[N]]", "no"),
        ("Exchange: [[Y]]", "[[Y]]", "yes"),
        ("Exchange: [[Y]]", "[[N]]", "invalid"),
        ("I would say [[N]] here.", "[[Y]]", "invalid"),
        ("I would say [[N]] here.", "[[N]]", "no"),
        ("[[N]]\nOn second thought, it is fine.", "[[Y]]", "invalid"),
        ("Reply [[Y]] if it is right, [[N]] if not.\nIt is right.", "[[Y]]", "yes"),
        ("It is right.", "It is right.", "invalid"),
    ],
)
def test_a_follow_up_cannot_say_what_the_reply_contradicts(said: str, then: str, ballot: str) -> None:
    first = reply(said)
    assert follows_up(first, read_verdict(first, reasoning=False))
    assert read_follow_up(first, reply(then), reasoning=False).ballot == ballot


@pytest.mark.parametrize(
    ("said", "reason"),
    [("", "stop"), ("It is right.", "length"), ("[[Y]]\n[[N]]\nor so", "stop"), ("[[Y]]", "stop")],
)
def test_replies_that_are_not_followed_up(said: str, reason: str) -> None:
    first = reply(said, reason)
    assert not follows_up(first, read_verdict(first, reasoning=False))


@pytest.mark.parametrize(
    "reason", ["length", "repetition", "abort", "error", "tool_calls", "STOP", "None", ""]
)
def test_only_stop_carries_a_verdict(reason: str) -> None:
    assert read_verdict(reply("[[Y]]", reason), reasoning=False).ballot == "invalid"


def test_where_reasoning_is_required_it_must_be_there() -> None:
    assert read_verdict(reply("[[Y]]"), reasoning=True).ballot == "invalid"
    assert read_verdict(reply("<think></think>[[Y]]"), reasoning=True).ballot == "yes"


@pytest.mark.parametrize(
    "text",
    [
        "accepted" + " " * LONG + "x",
        "[[" + " " * LONG + "Y",
        "[[ " * LONG,
        "*" * LONG,
        "\n" * LONG,
        "correct " * LONG + ": [[Y]]",
        "\\boxed{" * LONG + "[[Y]]" + "}" * LONG,
        "[[N]]" + " ." * LONG + "x\n" + "[[Y]]",
        "[[N" * LONG + "]]\n[[Y]]",
        "if " * LONG + "[[N]]\n[[Y]]",
        "\\text{" * LONG + "[[N]]" + "}" * LONG + "\n[[Y]]",
        "\\" * LONG + "[[N]]\n[[Y]]",
        "[[N]] if " * LONG + "[[N]]\n[[Y]]",
        "otherwise " * LONG + "[[N]] [[N]]\n[[Y]]",
        "`" * LONG + "\n[[Y]]",
    ],
)
def test_reading_takes_linear_time(text: str) -> None:
    assert read_verdict(reply(text), reasoning=False).ballot == "invalid"


# --- splitting ----------------------------------------------------------------------------------------------

SPLITS = [
    ("answer", None, "answer", True),
    ("", None, "", True),
    ("<think>\nr\n</think>\n\n a \n", "r", "a", True),
    ("r</think>a", "r", "a", True),
    ("<think></think>", "", "", True),
    ("<think>r", "r", "", False),
    ("a <think>r", "r", "", False),
    ("<think>r</think>m</think>a", "r</think>m", "a", True),
    ("<think>r</think>a<think>s</think>b", "r</think>a<think>s", "b", True),
    ("<think>r</think>a<think>s", "r</think>a<think>s", "", False),
    ("</think>a", "", "a", True),
]


@pytest.mark.parametrize(("text", "reasoning", "answer", "closed"), SPLITS)
def test_split(text: str, reasoning: str | None, answer: str, closed: bool) -> None:
    parts = split(text)
    assert (parts.reasoning, parts.answer, parts.closed) == (reasoning, answer, closed)


@pytest.mark.parametrize(
    ("completion", "found"),
    [
        (reply("<think>hm</think>What is 2?\nGive two digits."), "What is 2?\nGive two digits."),
        (reply("What is 2?"), "What is 2?"),
        (reply("What is 2?", "length"), None),
        (reply("<think>What is 2?"), None),
        (reply("<think>What is 2?</think>  \n"), None),
        (reply(""), None),
    ],
)
def test_an_inferred_question_is_whole_or_none(completion: Completion, found: str | None) -> None:
    assert final_text(completion) == found


# --- defects ------------------------------------------------------------------------------------------------

DEFECTS = [
    ("<think>r</think>So \\boxed{4}", "stop", True, None),
    ("So \\boxed{4}", "stop", False, None),
    ("So \\boxed{4}", "stop", True, "no_reasoning"),
    ("So \\boxed{4}", "length", False, "truncated"),
    ("So \\boxed{4}", "refused", False, "truncated"),
    ("<think>\\boxed{4}", "stop", True, "open_reasoning"),
    ("<think>\\boxed{4}</think>It is four.", "stop", True, "no_answer"),
    ("<think>r</think>", "stop", True, "no_answer"),
    ("So \\boxed{}", "stop", False, "no_answer"),
    ("So \\boxed{ \\text{ } }", "stop", False, "no_answer"),
    ("So \\boxed{4", "stop", False, "no_answer"),
    ("", "stop", False, "no_answer"),
    ("\\boxed{\\{\\}}", "stop", False, None),
    ("\\boxed{[]}", "stop", False, None),
    ("\\boxed{()}", "stop", False, None),
    ("\\boxed{{}}", "stop", False, "no_answer"),
    ("\\boxed{Solution:}", "stop", False, "filler"),
    ("\\boxed{...}", "stop", False, "filler"),
    ("\\boxed{Let's think step by step}", "stop", False, "filler"),
    ("<think>r", "length", True, "truncated"),
]


@pytest.mark.parametrize(("text", "finish_reason", "reasoning", "found"), DEFECTS)
def test_defect(text: str, finish_reason: str, reasoning: bool, found: str | None) -> None:
    assert defect(reply(text, finish_reason), DOMAINS["math"].answer_of, reasoning) == found


FILLERS = ["", " ", ":", "...", "—", "Solution", "solution:", "Solution**:", "Answer.", "Final answer:", "解"]
FILLERS += [
    "Thought process:",
    "Let's think",
    "lets solve this",
    "Let's think about the problem step by step:",
    "Let's solve this problem step by step.",
    "Let’s solve this problem step by step",
    "Step-by-step solution:",
    "\\text{Solution}",
    "**Here is the solution:**",
    "The answer is",
    "Reasoning:",
    "\\quad",
    "\\textbf{}",
    "Réponse :",
    "_",
    "{}",
    "\\[\\]",
    "\\( \\)",
    "[",
    ")(",
]
ANSWERS = [
    "4",
    "x",
    "-1",
    "Solution: 4",
    "the solution set is empty",
    "answers",
    "0",
    "∞",
    "∅",
    "Let's see 5",
    "the answer is 4",
    "\\text{the median}",
    "\\text{A}",
    "a",
    "is",
    "\\mathbb{R}",
    "{1, 2}",
    "\\{\\}",
    "\\{ \\}",
    "[]",
    "[ ]",
    "()",
    "[[]]",
    "$()$",
    "\\text{[]}",
    "The answer is []",
]


@pytest.mark.parametrize("text", FILLERS)
def test_fillers_say_nothing(text: str) -> None:
    assert is_filler(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_are_no_fillers(text: str) -> None:
    assert not is_filler(text)


@pytest.mark.parametrize(
    "head", ["let's think", "let's solve about this", "solution", "", "thought process:"]
)
@pytest.mark.parametrize("run", [" ", ": ", "\u2003", "_-", "\n"])
def test_fillers_are_told_in_linear_time(head: str, run: str) -> None:
    assert not is_filler(head + run * LONG + "4")
    assert is_filler(head + run * LONG + ".")


# --- outcomes -----------------------------------------------------------------------------------------------


def votes(text: str) -> list[Vote]:
    """ "f+ c? c-": stages by their letter, ballots yes, invalid and no."""
    ballots = {"+": "yes", "-": "no", "?": "invalid"}
    return [Vote(v[0], number, ballots[v[1]]) for number, v in enumerate(text.split())]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cast", "found", "stage"),
    [
        ("", "accepted", None),
        ("f+ f+ c+", "accepted", None),
        ("f+ f- c+", "rejected", "f"),
        ("f+ f?", "unjudged", "f"),
        ("f? c-", "rejected", "c"),
        ("f? c?", "unjudged", "f"),
        ("f- c- s?", "rejected", "f"),
        ("f+ c? s-", "rejected", "s"),
    ],
)
def test_outcome_and_the_stage_that_ended_it(cast: str, found: str, stage: str | None) -> None:
    assert outcome(votes(cast)) == found
    assert ended_by(votes(cast)) == stage


def test_by_length_breaks_ties_by_index() -> None:
    made = [Candidate("s", index, "", Completion("", "stop", 1, n)) for index, n in enumerate([3, 1, 2, 1])]
    assert [candidate.index for candidate in by_length(made[::-1])] == [1, 3, 2, 0]


# --- pass@k -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_against_brute_force(n: int) -> None:
    for correct in range(n + 1):
        right = [index < correct for index in range(n)]
        for k in range(1, n + 1):
            draws = list(combinations(right, k))
            assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize("k", [-1, 0, 4])
def test_pass_at_k_needs_k_samples(k: int) -> None:
    with pytest.raises(ValueError, match="between 1 and n"):
        pass_at_k(3, 1, k)
