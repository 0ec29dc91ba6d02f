"""The lab's tokenizer: lossless, one token a digit, and a chat template of Qwen3's shape."""

import random
from typing import Any

import pytest

from veridistill.lab import tokenizer as lab
from veridistill.lab.worlds import EQUATIONS, WORLDS


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    transformers = pytest.importorskip("transformers")
    directory = tmp_path_factory.mktemp("tokenizer")
    lab.save(directory, [EQUATIONS])
    return transformers.AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize(
    "text",
    [
        "plain text, 123 digits",
        "ünï日本語 العربية 🎉 e\u0301",
        "\u2028 \t  trailing  \r\n\n  x\n",
        "\x00\x7f\ufeff",
        "<|im_end|><think>\n</think>\n\n<|endoftext|>",
        "",
    ],
)
def test_round_trip(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_vocabulary(tokenizer: Any) -> None:
    assert len(tokenizer) == lab.vocabulary([EQUATIONS]) == 556
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"
    assert [len(tokenizer.encode(marker)) for marker in (*lab.SPECIAL, *lab.MARKERS)] == [1] * 5
    assert (
        tokenizer.decode(tokenizer.encode("<think>a</think>b"), skip_special_tokens=True)
        == "<think>a</think>b"
    )
    assert len(tokenizer.encode("4097")) == 4


def test_training_is_deterministic(tokenizer: Any) -> None:
    assert lab.train([EQUATIONS]).get_vocab() == tokenizer.get_vocab()


CHATS: list[tuple[list[dict[str, str]], dict[str, Any], str]] = [
    (
        [{"role": "user", "content": "hi"}],
        {"add_generation_prompt": True},
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        [{"role": "user", "content": "hi"}],
        {"add_generation_prompt": True, "enable_thinking": True},
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        [{"role": "user", "content": "hi"}],
        {"add_generation_prompt": True, "enable_thinking": False},
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    (
        [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
        {},
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n",
    ),
    (
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>\nw\n</think>\n\na"}],
        {},
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\nw\n</think>\n\na<|im_end|>\n",
    ),
    (
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        {},
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\na<|im_end|>\n",
    ),
    (
        [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "<think>\nw\n</think>\n\na"},
            {"role": "user", "content": "r"},
        ],
        {},
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nr<|im_end|>\n",
    ),
]
"""Expected as Qwen3's own template renders them: reasoning before the last user message is dropped."""


@pytest.mark.parametrize(("messages", "options", "expected"), CHATS)
def test_template_renders_as_qwen3(
    tokenizer: Any, messages: list[dict[str, str]], options: dict[str, Any], expected: str
) -> None:
    assert tokenizer.apply_chat_template(messages, tokenize=False, **options) == expected


def test_render_is_the_template(tokenizer: Any) -> None:
    prompt = "two\nlines {question}"
    messages = [{"role": "user", "content": prompt}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == lab.render(
        prompt
    )


def test_prompt_and_reply_tokenise_apart_as_together(tokenizer: Any) -> None:
    prompt, reply = lab.render("Solve 3x+4=40 for x."), "<think>\n3x=40-4\n</think>\n\n12<|im_end|>"
    assert tokenizer.encode(prompt) + tokenizer.encode(reply) == tokenizer.encode(prompt + reply)


def test_replies_of_every_world_are_short_in_the_tokens_of_all() -> None:
    known = lab.train(list(WORLDS.values()))
    assert len(known) <= lab.vocabulary(list(WORLDS.values()))
    for world in WORLDS.values():
        samples = [
            world.sample(random.Random(i), skill, "hard") for skill in world.skills for i in range(100)
        ]
        for one, reply, shown in zip(
            samples,
            known([one.reply for one in samples])["input_ids"],
            known([lab.render(one.prompt) for one in samples])["input_ids"],
            strict=True,
        ):
            assert len(reply) < 120, (world.name, one.reply)
            assert len(reply) + len(shown) < 600, (world.name, one.prompt)
