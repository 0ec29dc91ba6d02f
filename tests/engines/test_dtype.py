"""What `model.dtype: auto` becomes."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest

torch = pytest.importorskip("torch")

from veridistill.engines.dtype import Dtype, resolved  # noqa: E402
from veridistill.engines.local import LocalEngine  # noqa: E402

LARGE, SMALL = 65 << 20, 63 << 20


@pytest.mark.parametrize(
    ("dtype", "kind", "size", "abilities", "expected"),
    [
        ("auto", "cpu", LARGE, {"avx512_bf16": True}, "bfloat16"),
        ("auto", "cpu", LARGE, {"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ("auto", "cpu", LARGE, {"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, "float32"),
        ("auto", "cpu", LARGE, {}, "float32"),
        ("auto", "cpu", SMALL, {"avx512_bf16": True}, "float32"),
        ("auto", "gpu", SMALL, {}, "bfloat16"),
        ("float16", "cpu", LARGE, {"avx512_bf16": True}, "float16"),
        ("float32", "gpu", LARGE, {}, "float32"),
    ],
)
def test_the_dtype_of_a_model(
    dtype: Dtype,
    kind: Literal["cpu", "gpu"],
    size: int,
    abilities: dict[str, bool],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size // 2)
    (tmp_path / "tokenizer.json").write_bytes(b" " * 100)
    assert resolved(dtype, kind, tmp_path) == expected


@pytest.mark.parametrize(("limit", "dtype"), [(0, torch.bfloat16), (1 << 40, torch.float32)])
def test_local_loads_the_weights_in_it(
    limit: int, dtype: object, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veridistill.engines.dtype._TINY", limit)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    engine, named = (
        LocalEngine.load(str(tiny_model), device="cpu", dtype=name, threads=1)
        for name in ("auto", str(dtype).removeprefix("torch."))
    )
    assert engine.fingerprint == named.fingerprint
    assert engine._worker is not None
    assert engine._worker._model.dtype == dtype
    for one in (engine, named):
        asyncio.run(one.close())
