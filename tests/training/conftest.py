"""A random tiny Qwen3 with a byte-level tokenizer of Qwen3's shape, and examples as an engine gives them."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from veridistill.records import Example, Message

TEMPLATE = (
    "{%- for m in messages %}"
    "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as on the Hub: bfloat16 weights, tokenizer, chat template, generation config."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("base") / "tiny"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(
        [AddedToken(t, special=True) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    )
    raw.add_tokens([AddedToken(t, special=False) for t in ("<think>", "</think>")])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            max_position_embeddings=512,
            tie_word_embeddings=True,
        )
    ).bfloat16()
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=[end, pad], pad_token_id=pad, do_sample=True, temperature=0.6, top_k=20
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(base: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(scope="session")
def make_examples(tokenizer) -> Callable[[int], list[Example]]:
    """Additions of two digits with their sums."""

    def make(num: int) -> list[Example]:
        rng, made = random.Random(1), []
        for i in range(num):
            a, b = rng.randrange(100), rng.randrange(100)
            prompt = f"{a}+{b}?"
            reply = "<think>\n" + "I add. " * rng.randrange(1, 4) + f"</think>\n\n\\boxed{{{a + b}}}"
            turns = [{"role": "user", "content": prompt}]
            ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            target = [*tokenizer.encode(reply, add_special_tokens=False), tokenizer.eos_token_id]
            made.append(
                Example(
                    f"s{i}",
                    i % 8,
                    tuple(ids),
                    tuple(target),
                    (Message("user", prompt), Message("assistant", reply)),
                )
            )
        return made

    return make
