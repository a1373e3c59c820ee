"""The Triton kernel in Triton's interpreter, on CPU tensors, against float64 (a process of its own, because of TRITON_INTERPRET)."""

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from train.lerp import KERNEL_TYPES, _has_kernel

has_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no triton (pip install triton)")
TOLERANCE = {"torch.float32": 2e-6, "torch.bfloat16": 8e-3, "torch.float16": 6e-4}  # the interpreter cuts a bfloat16 off


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.triton_in_the_interpreter"], capture_output=True, text=True, check=False,
        env=os.environ | {"TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@has_triton
def test_forward_and_both_backwards_are_close_to_float64(found: dict[str, Any]) -> None:
    wrong = [(c["case"], key) for c in found["cases"] for key in ("y", "x_atomic", "x_in_order") if not c[key] <= TOLERANCE[c["dtype"]]]
    assert wrong == []


@has_triton
def test_the_tables_gradient_is_summed_in_float32(found: dict[str, Any]) -> None:
    assert [c["case"] for c in found["cases"] if not max(c["table_atomic"], c["table_in_order"]) <= 2e-6] == []


@has_triton
def test_float32_values_have_the_references_bits(found: dict[str, Any]) -> None:
    assert [c["case"] for c in found["cases"] if c["dtype"] == "torch.float32" and not c["same_bits"]] == []


@has_triton
def test_the_deterministic_backward_repeats_its_bits_and_types_are_kept(found: dict[str, Any]) -> None:
    assert len(found["cases"]) == 6
    assert [c["case"] for c in found["cases"] if not (c["repeats"] and c["types"])] == []


@has_triton
def test_extreme_values_read_inside_the_table(found: dict[str, Any]) -> None:
    assert found["wild"] == [True, True, False, False, False]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", KERNEL_TYPES["cuda"])
def test_on_a_gpu_bits_are_the_references_and_repeat_when_asked(dtype: torch.dtype) -> None:
    from train.lerp import lerp, lerp_reference

    assert _has_kernel("cuda")
    table, x = torch.randn(70, 64, device="cuda"), (torch.randn(1000, 70, device="cuda") * 3).to(dtype)
    assert (lerp(table, x) == lerp_reference(table, x)).all()
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(2):
            leaf = table.clone().requires_grad_()
            lerp(leaf, x).float().square().sum().backward()
            runs.append(leaf.grad)
    finally:
        torch.use_deterministic_algorithms(False)
    assert (runs[0] == runs[1]).all()
