"""One forward pass of a transformers model with a key-value cache, under whichever name the model takes it.

transformers 5.24 renamed the argument `past_key_values` (of some recurrent models `cache_params`) to `cache`; the old
names warn from then on, and earlier versions do not have the new one. Nothing else in the package names the argument.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_NAMES = ("cache", "past_key_values", "cache_params")


def forward(module: Any, cache: Any, **inputs: Any) -> Any:
    """The module's output for `inputs`, which reads and extends `cache`."""
    return module(**{cache_keyword(module): cache}, use_cache=True, **inputs)


def cache_keyword(module: Any) -> str:
    """The name by which a module's forward takes its cache.

    A forward that shows none of the names (a wrapper that takes `**kwargs`) passes them on: then its base model is
    asked, and last transformers' own `create_causal_mask`, which was renamed in the same release.
    """
    base = getattr(module, "base_model", module)
    for function in (type(module).forward, type(base).forward):
        if (name := _named(function)) is not None:
            return name
    from transformers.masking_utils import create_causal_mask

    return _named(create_causal_mask) or _NAMES[0]


@lru_cache(maxsize=64)
def _named(function: Callable[..., Any]) -> str | None:
    parameters = inspect.signature(function).parameters
    return next((name for name in _NAMES if name in parameters), None)
