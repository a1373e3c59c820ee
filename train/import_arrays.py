"""Integer parameters from another trainer, as arrays in an .npz, to an integer ONNX graph.

The form is that of the INT8 models which the article's authors published with their FPGA sources; README.md describes
it. All arithmetic is `clip(floor(acc / 2**s + 1/2) + b)`: a Requant with HALF_UP whose bias is `b << s`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import custom_ops
from train.data import read_npz
from train.resmlp import MEAN, STD

ROUNDING = "HALF_UP"
LARGEST_SHIFT = 31
DATA = "samples_"  # activations that may lie beside the parameters
OPSET, IR = 18, 10


class ArrayError(ValueError):
    """Arrays that are no model of the documented form; the message is one line that names the array and the rule."""


class Arrays:
    """Checked access to the arrays of a file."""

    def __init__(self, arrays: Mapping[str, np.ndarray], source: str) -> None:
        self.arrays, self.source = arrays, source
        self.read: set[str] = set()

    def refuse(self, name: str, rule: str) -> ArrayError:
        return ArrayError(f"{self.source}: array {name!r} {rule}")

    def integers(self, name: str, shape: tuple[int | None, ...], low: int, high: int) -> np.ndarray:
        """An integer array of `shape` (None: any size) with values in low..high, as int64."""
        self.read.add(name)
        if name not in self.arrays:
            raise self.refuse(name, f"is missing; expected integers {_shown(shape)}")
        value = self.arrays[name]
        if value.dtype.kind not in "iu":
            raise self.refuse(name, f"is {value.dtype}, must be integers")
        if value.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, value.shape, strict=True)):
            raise self.refuse(name, f"is {list(value.shape)}, must be {_shown(shape)}")
        if not value.size:
            raise self.refuse(name, f"is empty, must be {_shown(shape)}")
        if value.min() < low or value.max() > high:
            raise self.refuse(name, f"holds {value.min()}..{value.max()}, must be in {low}..{high}")
        return value.astype(np.int64)

    def int8(self, name: str, *shape: int | None) -> np.ndarray:
        return self.integers(name, shape, -128, 127).astype(np.int8)

    def shift_and_bias(self, layer: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(shift, bias << shift), both int32 [count]."""
        shift = self.integers(f"{layer}_s", (count,), 0, LARGEST_SHIFT)
        bias = self.int8(f"{layer}_b", count).astype(np.int64) << shift
        if np.abs(bias).max() >= 2**31:
            worst = int(np.abs(bias).argmax())
            raise self.refuse(f"{layer}_b", f"shifted left by {shift[worst]} leaves int32; a bias b needs |b| << s below 2**31")
        return shift.astype(np.int32), bias.astype(np.int32)

    def table(self, name: str, channels: int) -> np.ndarray:
        """int8 [channels, 256], or knots with the right end knot, a copy of the last one, added."""
        knots = self.int8(name, channels, None)
        size = knots.shape[1]
        if not 2 <= size <= custom_ops.channel_lut.FULL or size & (size - 1):
            raise self.refuse(name, f"has {size} entries a channel, must be a power of two in 2..256")
        return knots if size == custom_ops.channel_lut.FULL else np.concatenate([knots, knots[:, -1:]], 1)

    def require_all_read(self) -> None:
        """Refuses an array that no layer took, so that a misspelt one is not left out in silence; `samples_*` are data."""
        for name in self.arrays:
            if name not in self.read and not name.startswith(DATA):
                raise self.refuse(name, "belongs to no layer of this model; remove it or correct its name")

    def input_scale(self) -> float:
        self.read.add("input_scale")
        if "input_scale" not in self.arrays:
            raise self.refuse("input_scale", "is missing; expected one positive float")
        value = self.arrays["input_scale"]
        if value.size != 1 or value.dtype.kind not in "fiu" or not np.isfinite(value).all() or float(value.reshape(())) <= 0:
            raise self.refuse("input_scale", f"is {value.dtype} {list(value.shape)}, must be one positive float")
        return float(value.reshape(()))


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('any' if n is None else str(n) for n in shape)}]"


def read_arrays(path: Path) -> Arrays:
    """The arrays of an .npz, loaded without executing code."""
    if not path.is_file():
        raise ArrayError(f"{path}: no such file")
    arrays = read_npz(path)
    if arrays is None:
        raise ArrayError(f"{path}: not a readable .npz of plain arrays")
    return Arrays(arrays, str(path))


def import_arrays(arrays: Arrays) -> ModelProto:
    """uint8 pixels [N, H, W, 3] -> int8 logits [N, classes]; every size is read from the arrays' shapes."""
    graph = _Graph()
    embed = arrays.int8("embed_linear_w", None, None)
    channels, features = embed.shape
    patch = math.isqrt(features // 3)
    if 3 * patch * patch != features:
        raise arrays.refuse("embed_linear_w", f"has {features} columns, must be 3 * p * p for patches of p * p pixels")
    mixer = arrays.int8("blocks_0_token_mixer_linear_w", None, None)
    side = math.isqrt(len(mixer))
    if mixer.shape != (side * side, side * side):
        raise arrays.refuse("blocks_0_token_mixer_linear_w", f"is {list(mixer.shape)}, must be [T, T] with T a square number")
    x = graph.patches(graph.table("input", "pixels", input_table(arrays.input_scale()), lowest=0), side, patch)
    x = graph.linear(arrays, "embed_linear", x, channels, features)
    functions = any(name.endswith("_lerp_lut") for name in arrays.arrays)
    numbers = [int(found[1]) for name in arrays.arrays if (found := re.match(r"blocks_(\d+)_", name))]
    for block in range(max(numbers) + 1):
        x = _block(graph, arrays, f"blocks_{block}", x, channels, len(mixer), functions=functions)
    x = graph.mean(x, len(mixer), arrays)
    classes = len(arrays.int8("classifier_linear_w", None, channels))
    graph.linear(arrays, "classifier_linear", x, classes, channels, name="logits")
    arrays.require_all_read()
    return graph.model(side * patch, classes)


def input_table(scale: float) -> np.ndarray:
    """int8 [3, 256]: clip(round_half_even(((pixel / 255) - mean) / std * scale)) of each colour, in float64."""
    pixels = np.arange(256) / 255
    codes = [np.rint((pixels - mean) / std * scale) for mean, std in zip(MEAN, STD, strict=True)]
    return np.clip(np.stack(codes), -128, 127).astype(np.int8)


def _block(graph: _Graph, arrays: Arrays, block: str, x: str, channels: int, tokens: int, *, functions: bool) -> str:
    mixer, mlp = f"{block}_token_mixer", f"{block}_mlp"
    branch = graph.affine(arrays, f"{mixer}_affine_1", x, channels)
    branch = graph.token_linear(arrays, f"{mixer}_linear", branch, tokens)
    branch = graph.affine(arrays, f"{mixer}_affine_2", branch, channels)
    x = graph.saturating_add(f"{mixer}_sum", graph.affine(arrays, f"{mixer}_res_affine", x, channels), branch)
    hidden = len(arrays.int8(f"{mlp}_linear_1_w", None, channels))
    inner = graph.table(f"{mlp}_psa_1", x, arrays.table(f"{mlp}_psa_1_lerp_lut", channels)) if functions else x
    inner = graph.linear(arrays, f"{mlp}_linear_1", inner, hidden, channels, lo=-128 if functions else 0)
    inner = graph.table(f"{mlp}_psa_2", inner, arrays.table(f"{mlp}_psa_2_lerp_lut", hidden)) if functions else inner
    inner = graph.linear(arrays, f"{mlp}_linear_2", inner, channels, hidden)
    return graph.saturating_add(f"{mlp}_sum", graph.affine(arrays, f"{mlp}_res_affine", x, channels), inner)


class _Graph:
    """Nodes and constants under construction; each method appends one layer and returns its result's name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))  # type: ignore[arg-type]
        return output

    def _requant(self, source: str, name: str, mult: np.ndarray, bias: np.ndarray, shift: np.ndarray, **attributes: int) -> str:
        parameters = [self._constant(f"{name}_{role}", np.asarray(value, np.int32))
                      for role, value in (("mult", mult), ("bias", bias), ("shift", shift))]  # fmt: skip
        options = {"axis": -1, "lo": -128, "hi": 127} | attributes
        return self._node("Requant", [source, *parameters], name, custom_ops.DOMAIN, rounding=ROUNDING, **options)

    def table(self, name: str, x: str, table: np.ndarray, lowest: int = -128) -> str:
        constant = self._constant(f"{name}_table", table)
        return self._node("ChannelLUT", [x, constant], name, custom_ops.DOMAIN, rounding=ROUNDING, lowest=lowest)

    def patches(self, x: str, side: int, size: int) -> str:
        split = self._constant("patches_split", np.array([0, side, size, side, size, 3], np.int64))
        joined = self._constant("patches_joined", np.array([0, side * side, size * size * 3], np.int64))
        parts = self._node("Transpose", [self._node("Reshape", [x, split], "pixels_split")], "pixels_by_patch", perm=[0, 1, 3, 2, 4, 5])
        return self._node("Reshape", [parts, joined], "patches")

    def linear(self, arrays: Arrays, layer: str, x: str, rows: int, columns: int, *, lo: int = -128, name: str = "") -> str:
        weight = self._constant(f"{layer}_weight", arrays.int8(f"{layer}_w", rows, columns).T)
        shift, bias = arrays.shift_and_bias(layer, rows)
        accumulator = self._node("MatMulInteger", [x, weight], f"{layer}_accumulator")
        return self._requant(accumulator, name or layer, np.ones(1), bias, shift, lo=lo)

    def token_linear(self, arrays: Arrays, layer: str, x: str, tokens: int) -> str:
        weight = self._constant(f"{layer}_weight", arrays.int8(f"{layer}_w", tokens, tokens))
        shift, bias = arrays.shift_and_bias(layer, tokens)
        return self._requant(self._node("MatMulInteger", [weight, x], f"{layer}_accumulator"), layer, np.ones(1), bias, shift, axis=-2)

    def affine(self, arrays: Arrays, layer: str, x: str, channels: int) -> str:
        shift, bias = arrays.shift_and_bias(layer, channels)
        return self._requant(x, layer, arrays.int8(f"{layer}_w", channels), bias, shift)

    def saturating_add(self, name: str, a: str, b: str) -> str:
        wide = [self._node("Cast", [t], f"{name}_{role}", to=TensorProto.INT32) for role, t in (("a", a), ("b", b))]
        return self._requant(self._node("Add", wide, f"{name}_wide"), name, np.ones(1), np.zeros(1), np.zeros(1))

    def mean(self, x: str, tokens: int, arrays: Arrays) -> str:
        shift = tokens.bit_length() - 1
        if tokens != 2**shift:
            raise arrays.refuse("blocks_0_token_mixer_linear_w", f"is for {tokens} tokens, must be a power of two for the mean over them")
        wide = self._node("Cast", [x], "mean_wide", to=TensorProto.INT32)
        axes = self._constant("mean_axes", np.array([1], np.int64))
        total = self._node("ReduceSum", [wide, axes], "mean_sum", keepdims=0)
        return self._requant(total, "mean", np.ones(1), np.zeros(1), np.full(1, shift))

    def model(self, size: int, classes: int) -> ModelProto:
        graph = helper.make_graph(
            self.nodes, "psaflow", [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", size, size, 3])],
            [helper.make_tensor_value_info("logits", TensorProto.INT8, ["N", classes])], self.constants,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(custom_ops.DOMAIN, custom_ops.VERSION)]
        model = custom_ops.add_functions(helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="psaflow"))
        onnx.checker.check_model(model)
        return model
