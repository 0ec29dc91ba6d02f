"""The name under which a model takes its key-value cache, whatever the version of transformers."""

import logging
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import masking_utils  # noqa: E402

from veridistill.engines.local.forward import cache_keyword, forward  # noqa: E402
from veridistill.engines.local.pool import Pool, RowByRow  # noqa: E402
from veridistill.engines.local.slots import Slots  # noqa: E402


class New:
    def forward(self, input_ids: Any = None, cache: Any = None, use_cache: Any = None, **kwargs: Any) -> Any:
        return cache, kwargs

    def __call__(self, **kwargs: Any) -> Any:
        return self.forward(**kwargs)


class Old(New):
    def forward(self, input_ids: Any = None, past_key_values: Any = None, use_cache: Any = None) -> Any:  # type: ignore[override]
        return past_key_values, {}


class Recurrent(New):
    def forward(self, input_ids: Any = None, cache_params: Any = None, use_cache: Any = None) -> Any:  # type: ignore[override]
        return cache_params, {}


def renaming(function: Callable[..., Any]) -> Callable[..., Any]:
    """As transformers' own decorator: it takes both names, and warns of the old one."""

    @wraps(function)
    def wrapped(self: Any, **kwargs: Any) -> Any:
        if "past_key_values" in kwargs:
            warnings.warn("deprecated", FutureWarning, stacklevel=1)
            kwargs["cache"] = kwargs.pop("past_key_values")
        return function(self, **kwargs)

    return wrapped


class Decorated(New):
    forward = renaming(New.forward)  # type: ignore[assignment]


def around(inner: type[New]) -> New:
    """A wrapper that shows none of the names, and has what it wraps as its base model."""

    class Opaque(New):
        base_model = inner()

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.base_model(*args, **kwargs)

    return Opaque()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (New(), "cache"),
        (Old(), "past_key_values"),
        (Recurrent(), "cache_params"),
        (Decorated(), "cache"),
        (around(New), "cache"),
        (around(Old), "past_key_values"),
        (around(Decorated), "cache"),
    ],
    ids=["new", "old", "recurrent", "decorated", "around new", "around old", "around decorated"],
)
def test_the_cache_goes_by_the_name_that_the_forward_takes(module: Any, expected: str) -> None:
    assert cache_keyword(module) == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert forward(module, "state", input_ids=1)[0] == "state"


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_where_no_forward_shows_a_name_the_librarys_own_use_decides(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(New):
        def forward(self, **kwargs: Any) -> Any:
            return kwargs

    def older(past_key_values: Any) -> None: ...
    def newer(cache: Any) -> None: ...

    monkeypatch.setattr(masking_utils, "create_causal_mask", newer if name == "cache" else older)
    assert cache_keyword(Blind()) == name


@pytest.mark.parametrize("pool", [lambda model: Slots(model, 4), RowByRow], ids=["slots", "rows"])
def test_the_installed_transformers_warns_of_nothing(
    tiny_model: Path, pool: Callable[[Any], Pool], caplog: pytest.LogCaptureFixture
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("error")
            rows = pool(model)
            rows.add([[3, 4, 5], [6, 7]])
            logits = rows.step(torch.tensor([5, 7]), torch.tensor([2, 1]), 3)
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert logits.shape == (2, model.config.vocab_size)
    assert caplog.messages == []
