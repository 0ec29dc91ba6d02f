"""The lab's tokenizer: byte-level BPE with Qwen3's pre-tokenizer, markers and shape of chat template.

Lossless on any Unicode text (Qwen's NFC normaliser is left out); each digit is a token. It is trained on samples of
the worlds that the model is taught.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from veridistill.lab.worlds.world import AnyWorld

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_BYTES_AND_MARKERS, _MERGES_OF_A_WORLD = 261, 295
SAMPLES = 6000
"""Of each world, that the tokenizer is trained on."""

PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The split pattern of the Qwen2 and Qwen3 tokenizers."""

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKERS = ("<think>", "</think>")
"""Added tokens that are not special, as in Qwen3: decoding keeps them."""

CHAT_TEMPLATE = """\
{%- set ns = namespace(last_query=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- set ns.last_query = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'assistant' %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].split('<think>')[-1] %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last_query and (loop.last or reasoning) %}
            {{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}
            {%- set content = content.lstrip('\\n') %}
        {%- endif %}
        {{- content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
"""Renders plain chats as Qwen3's template does; tools and multi-step reasoning are left out."""


def render(prompt: str) -> str:
    """One user message with a generation prompt, as the template renders it (a test compares the two)."""
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


def vocabulary(worlds: Sequence[AnyWorld]) -> int:
    """How many tokens there are, markers included: 556 for one world, 1,146 for three."""
    return _BYTES_AND_MARKERS + _MERGES_OF_A_WORLD * len(worlds)


def corpus(worlds: Sequence[AnyWorld], num: int) -> Iterator[str]:
    """Rendered samples of all skills of all worlds in equal shares."""
    rng = random.Random("tokenizer:0")
    kinds = [(world, skill) for world in worlds for skill in world.skills]
    for index in range(num):
        world, skill = kinds[index % len(kinds)]
        one = world.sample(rng, skill)
        yield one.prompt + "\n"
        yield one.reply


def train(worlds: Sequence[AnyWorld]) -> "PreTrainedTokenizerFast":
    """Train the byte-level BPE on the worlds' texts."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PRE_TOKENIZER), behavior="isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = vocabulary(worlds) - len(SPECIAL) - len(MARKERS)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(alphabet), show_progress=False)
    texts = (
        text.replace("<think>", "").replace("</think>", "") for text in corpus(worlds, SAMPLES * len(worlds))
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def save(directory: Path, worlds: Sequence[AnyWorld]) -> None:
    """Write tokenizer.json, and tokenizer_config.json with the chat template in it."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = train(worlds)
    tokenizer.save_pretrained(directory, save_jinja_files=False)
    config = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
