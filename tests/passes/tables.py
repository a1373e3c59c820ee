"""A tiny integer network with two tables, for the tests of what compresses them."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, numpy_helper

from passes.graph import set_metadata
from tests.passes.graphs import parse

CHANNELS, TOKENS = 4, 6
CODES = np.arange(-128, 128)
GRAPH = f"""
    g (uint8[N,{TOKENS},3] pixels) => (int32[N,3] logits)
    <int32 one = {{1}}, int32 none = {{0}}, int32 less = {{7}}, int32 few = {{1}}, int32 factor = {{2}}, int64[1] tokens = {{1}}>
    {{ [input] codes = psaflow.ChannelLUT <lowest = 0> (pixels, table_0)
       a = MatMulInteger (codes, w1)
       x = psaflow.Requant (a, one, none, less)
       [act1] u = psaflow.ChannelLUT (x, table_1)
       b = MatMulInteger (u, w2)
       v = psaflow.Requant (b, one, none, less)
       [act2] w = psaflow.ChannelLUT (v, table_2)
       wide = Cast <to = 6> (w)
       skip = Cast <to = 6> (x)
       scaled = Mul (skip, factor)
       sum = Add (wide, scaled)
       z = psaflow.Requant <lo = -100> (sum, one, none, few)
       z32 = Cast <to = 6> (z)
       total = ReduceSum <keepdims = 0> (z32, tokens)
       pooled = psaflow.Requant (total, one, none, few)
       logits = MatMulInteger (pooled, w3) }}"""


def curves(seed: int = 0) -> np.ndarray:
    """int8 [CHANNELS, 256]: smooth functions with a kink."""
    rng = np.random.default_rng(seed)
    values = [90 * np.tanh(CODES / rng.uniform(9, 30)) * np.cos(CODES / rng.uniform(20, 60)) + np.maximum(CODES, 0) * 0.3
              for _ in range(CHANNELS)]  # fmt: skip
    return np.clip(np.rint(values), -128, 127).astype(np.int8)


def network(tables: dict[str, np.ndarray] | None = None) -> ModelProto:
    """The network with full tables, or with those given in place of table_1 and table_2; logits at 2**-9."""
    rng = np.random.default_rng(1)
    values = {"table_0": np.repeat(CODES[None], 3, 0).astype(np.int8), "table_1": curves(1), "table_2": curves(2)} | (tables or {})
    for name, shape in (("w1", (3, CHANNELS)), ("w2", (CHANNELS, CHANNELS)), ("w3", (CHANNELS, 3))):
        values[name] = rng.integers(-90, 91, shape).astype(np.int8)
    text = GRAPH
    for name, value in values.items():
        entries = ", ".join(map(str, value.ravel()))
        text = text.replace("int32 one", f"int8[{value.shape[0]},{value.shape[1]}] {name} = {{{entries}}}, int32 one", 1)
    model = parse(text)
    set_metadata(model, "logits_scale", str(2.0**-9))
    return model


def pixels(count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count, TOKENS, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, TOKENS, 3), np.uint8)


def tables_in(model: ModelProto) -> list[np.ndarray]:
    """The tables of act1 and act2."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    return [constants[n.input[1]] for n in model.graph.node if n.op_type == "ChannelLUT"][1:]
