"""Integer networks with random parameters, as `3_integer.onnx` holds them, and what onnxruntime makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accel.simd.results import EngineRun
from custom_ops import add_functions
from custom_ops.runtime import session


@dataclass(frozen=True)
class Shape:
    """What is random about a network is drawn from `seed`; the rest is here."""

    seed: int = 0
    side: int = 32  # pixels
    patch: int = 4
    colours: int = 3
    width: int = 96
    hidden: int = 96
    blocks: int = 4
    classes: int = 10
    tables: int = 65  # entries or knots; 0: ReLU behind the first linear
    half_up: bool = False
    residual: str = "plain"  # none, plain, shifted, affine
    affines: bool = True  # before and behind the token mixer
    mixer: bool = True
    wide: bool = True  # int32 logits

    @property
    def tokens(self) -> int:
        return (self.side // self.patch) ** 2


PSA_96 = Shape()
RELU_96 = replace(PSA_96, tables=0)
RELU_192 = replace(PSA_96, tables=0, hidden=192)


def random_shape(seed: int) -> Shape:
    """A small network of any kind."""
    rng = np.random.default_rng(seed)
    patch, colours = [(4, 3), (4, 1), (2, 2), (4, 2), (8, 3), (4, 4)][rng.integers(6)]
    return Shape(
        seed, int(patch * rng.integers(1, 5)), patch, colours, int(rng.integers(1, 50)), int(rng.integers(1, 60)),
        int(rng.integers(0, 4)), int(rng.integers(1, 40)), int(rng.choice([0, 256, 129, 65, 33, 17, 9, 5, 3])),
        bool(rng.integers(2)), str(rng.choice(["none", "plain", "shifted", "affine"])), bool(rng.integers(2)),
        bool(rng.integers(4)), bool(rng.integers(2)),
    )  # fmt: skip


class _Writer:
    def __init__(self, shape: Shape) -> None:
        self.shape, self.rng = shape, np.random.default_rng(shape.seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.rounding = "HALF_UP" if shape.half_up else "HALF_EVEN"

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], output, domain=domain, **attributes))
        return output

    def requant(self, x: str, output: str, count: int, size: float, axis: int = -1, multiply: bool = False, **limits: int) -> str:
        """Shifts that bring about `size` down to 127, ties likely in the small ones."""
        rng = self.rng
        mult = rng.integers(-128, 128, count) if multiply else np.ones(1, np.int64)
        shift = np.clip(np.log2(size / 90 * (64 if multiply else 1)) + rng.integers(-1, 2, count), 0, 31).astype(np.int32)
        bias = rng.integers(-40, 41, count) << shift.astype(np.int64)
        parameters = {"mult": mult, "bias": bias + rng.integers(-3, 4, count), "shift": shift}
        names = [self.constant(f"{output}_{name}", value.astype(np.int32)) for name, value in parameters.items()]
        return self.node("Requant", [x, *names], output, "psaflow", axis=axis, rounding=self.rounding, **limits)

    def linear(self, x: str, output: str, inputs: int, outputs: int, **limits: int) -> str:
        weight = self.constant(f"{output}_weight", self.rng.integers(-128, 128, (inputs, outputs)).astype(np.int8))
        self.node("MatMulInteger", [x, weight], f"{output}_accumulator")
        return self.requant(f"{output}_accumulator", output, outputs, 70 * 70 * inputs**0.5, **limits)

    def mix(self, x: str, output: str) -> str:
        tokens = self.shape.tokens
        weight = self.constant(f"{output}_weight", self.rng.integers(-128, 128, (tokens, tokens)).astype(np.int8))
        self.node("MatMulInteger", [weight, x], f"{output}_accumulator")
        return self.requant(f"{output}_accumulator", output, tokens, 70 * 70 * tokens**0.5, axis=-2)

    def table(self, x: str, output: str, channels: int) -> str:
        codes = self.rng.integers(-128, 128, (channels, self.shape.tables)).astype(np.int8)
        return self.node("ChannelLUT", [x, self.constant(f"{output}_table", codes)], output, "psaflow", rounding=self.rounding, lowest=-128)

    def add(self, a: str, b: str, output: str, channels: int) -> str:
        kind, rng = self.shape.residual, self.rng
        if kind == "none":
            return b
        if kind == "affine":
            a = self.requant(a, f"{output}_res_affine", channels, 127, multiply=True)
        left = int(rng.integers(1, 4)) if kind == "shifted" else 0
        terms = [self.node("Cast", [name], f"{output}_{side}", to=TensorProto.INT32) for side, name in zip("ab", (a, b), strict=True)]
        if left:
            at = int(rng.integers(2))
            factor = self.constant(f"{output}_factor", np.array(1 << left, np.int32))
            terms[at] = self.node("Mul", [terms[at], factor], f"{terms[at]}_shifted")
        self.node("Add", terms, f"{output}_wide")
        one, zero, shift = (self.constant(f"{output}_{n}", np.array([v], np.int32)) for n, v in (("one", 1), ("zero", 0), ("shift", left)))
        return self.node("Requant", [f"{output}_wide", one, zero, shift], output, "psaflow", rounding=self.rounding)

    def block(self, x: str, name: str) -> str:
        s, relu = self.shape, self.shape.tables == 0
        if s.mixer:
            y = self.requant(x, f"{name}_token_in", s.width, 127, multiply=True) if s.affines else x
            y = self.mix(y, f"{name}_token")
            y = self.requant(y, f"{name}_token_out", s.width, 127, multiply=True) if s.affines else y
            x = self.add(x, y, f"{name}_token_sum", s.width)
        y = x if relu else self.table(x, f"{name}_act1", s.width)
        y = self.linear(y, f"{name}_fc1", s.width, s.hidden, **({"lo": 0} if relu else {}))
        y = y if relu else self.table(y, f"{name}_act2", s.hidden)
        return self.add(x, self.linear(y, f"{name}_fc2", s.hidden, s.width), f"{name}_sum", s.width)

    def model(self) -> onnx.ModelProto:
        s, n = self.shape, self.shape.side // self.shape.patch
        colours = self.constant("input_table", self.rng.integers(-128, 128, (s.colours, 256)).astype(np.int8))
        self.node("ChannelLUT", ["pixels", colours], "input", "psaflow", lowest=0, rounding=self.rounding)
        self.node("Reshape", ["input", self.constant("split", np.array([-1, n, s.patch, n, s.patch, s.colours]))], "input_split")
        self.node("Transpose", ["input_split"], "input_by_patch", perm=[0, 1, 3, 2, 4, 5])
        features = s.patch * s.patch * s.colours
        x = self.node("Reshape", ["input_by_patch", self.constant("joined", np.array([-1, n * n, features]))], "patches")
        x = self.linear(x, "embed", features, s.width)
        for index in range(s.blocks):
            x = self.block(x, f"blocks_{index}")
        self.node("Cast", [x], "mean_wide", to=TensorProto.INT32)
        self.node("ReduceSum", ["mean_wide", self.constant("axes", np.array([1]))], "mean_sum", keepdims=0)
        x = self.requant("mean_sum", "mean", 1, 60 * n * n)
        weight = self.constant("logits_weight", self.rng.integers(-128, 128, (s.width, s.classes)).astype(np.int8))
        self.node("MatMulInteger", [x, weight], "logits_accumulator")
        if s.wide:
            self.node("Add", ["logits_accumulator", self.constant("logits_bias", self.rng.integers(-(2**20), 2**20, s.classes).astype(np.int32))], "logits")
        else:
            self.requant("logits_accumulator", "logits", s.classes, 70 * 70 * s.width**0.5)
        graph = helper.make_graph(
            self.nodes, "network", [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", s.side, s.side, s.colours])],
            [helper.make_tensor_value_info("logits", TensorProto.INT32 if s.wide else TensorProto.INT8, ["N", s.classes])], self.constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("psaflow", 1)], ir_version=10)
        return add_functions(model)


def network(shape: Shape) -> onnx.ModelProto:
    """The integer model of `shape`."""
    return _Writer(shape).model()


def images(shape: Shape, count: int) -> np.ndarray:
    """uint8 [count, H, W, F]."""
    return np.random.default_rng(shape.seed + 1).integers(0, 256, (count, shape.side, shape.side, shape.colours), dtype=np.uint8)


def reference(model: onnx.ModelProto, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
    """Every tensor of `model` in onnxruntime."""
    opened = session(model, outputs="all", threads=1)
    return dict(zip([o.name for o in opened.get_outputs()], opened.run(None, {opened.get_inputs()[0].name: pixels}), strict=True))


def differing(run: EngineRun, expected: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the tensors of any image that differ; the logits as `logits`."""
    found = []
    for index, image in enumerate(run.images):
        for name, values in image.tensors.items():
            if not np.array_equal(values, expected[name][index].reshape(values.shape)):
                found.append(f"{name} of image {index}")
        if not np.array_equal(image.logits, expected["logits"][index]):
            found.append(f"logits of image {index}")
    return found
