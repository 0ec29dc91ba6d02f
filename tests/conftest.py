"""Shared parts: a tiny Qwen3 with random weights and the real template's behaviour, and a scripted engine.

Random cases are the same ones in every run, so that a commit fails for what it changed. `--hypothesis-profile=fresh`
draws new ones, five times as many for the law of laziness. Either way a failure prints its case as a line to paste
above the test, `@reproduce_failure(...)`.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from veridistill.engines.scripted import Script, ScriptedEngine

# Before torch is imported, here and in child processes: models as small as the tests' gain nothing from a second
# thread, and on a busy machine two threads that wait for each other take ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis must not fail an example because the machine was busy.
settings.register_profile(
    "fixed", derandomize=True, print_blob=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fresh", settings.get_profile("fixed"), derandomize=False)
settings.load_profile("fixed")

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKERS = ("<think>", "</think>", "<tool_call>", "</tool_call>")

# Behaves as Qwen3's does for plain chats: thinking off inserts an empty think block, and the reasoning of
# assistant turns before the last user message is dropped.
CHAT_TEMPLATE = """\
{%- set ns = namespace(last_query=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set ns.last_query = loop.index0 %}{% endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role != 'assistant' %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- else %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last_query and (loop.last or reasoning) %}
            {{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""


def save_tokenizer(directory: Path) -> int:
    """A byte-level BPE with Qwen3's markers; returns the size of its vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(
        ["the answer is what is asked in the question and the question is answered"] * 2,
        trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False),
    )
    core.add_special_tokens(list(SPECIAL))
    core.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(directory, save_jinja_files=False)
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings), encoding="utf-8")
    return len(tokenizer)


def save_model(directory: Path, vocabulary: int, end_id: int, **changes: object) -> None:
    """A Qwen3 of about 100,000 random parameters, scaled so that its logits are far apart."""
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    shape: dict[str, object] = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "initializer_range": 0.15,
        "tie_word_embeddings": False,
        "eos_token_id": end_id,
    }
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**(shape | changes)))
    model.generation_config = GenerationConfig(eos_token_id=end_id)
    model.save_pretrained(directory)


@pytest.fixture(scope="session")
def make_tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes model directories; keyword arguments change the Qwen3Config."""

    def make(**changes: object) -> Path:
        directory = tmp_path_factory.mktemp("model")
        size = save_tokenizer(directory)
        settings = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
        ids = {token["content"]: token["id"] for token in settings["added_tokens"]}
        save_model(directory, size, ids["<|im_end|>"], **changes)
        return directory

    return make


@pytest.fixture(scope="session")
def tiny_model(make_tiny_model: Callable[..., Path]) -> Path:
    """A directory with a random-weight Qwen3, its tokenizer and its chat template. Do not write into it."""
    return make_tiny_model()


@pytest.fixture
def scripted() -> ScriptedEngine:
    """An engine that plays all roles and answers at once."""
    return ScriptedEngine(Script())
