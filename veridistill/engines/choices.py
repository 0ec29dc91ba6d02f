"""Replies restricted to a few texts (`Sampling.choices`), token by token.

Each text counts as the ids that the tokenizer gives it, and after the whole of one only the end of the turn follows.
So a token is drawn where the texts part, and everything else is forced. The engines apply it (`local`, `vllm`).
"""

from collections.abc import Sequence

from veridistill.engines.chat import Prompts

Ids = tuple[int, ...]


def allowed_ids(choices: Sequence[str], prompts: Prompts, end_ids: Sequence[int]) -> tuple[Ids, ...]:
    """The replies that are allowed, each with its end of turn; none for free replies."""
    encode = prompts.tokenizer.encode
    return tuple((*encode(text, add_special_tokens=False), end_ids[0]) for text in choices)


def next_ids(allowed: Sequence[Ids], said: Ids) -> list[int]:
    """The tokens that go on one of the replies after `said`; none after a whole one."""
    num = len(said)
    return sorted({ids[num] for ids in allowed if len(ids) > num and ids[:num] == said})
