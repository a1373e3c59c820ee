"""Fused layers as ONNX text, for the tests of the passes that fuse more into them."""

from __future__ import annotations

import numpy as np

PARAMETERS = "int8[2,2] w = {1, -2, 3, -128}, int32[1] m = {1}, int32[2] b = {5, -6}, int32[2] s = {1, 2}"
LAYERS = ("Linear", "TokenLinear")


def table(name: str, seed: int, width: int = 256) -> str:
    """A constant int8 [2, width] of random entries."""
    entries = np.random.default_rng(seed).integers(-128, 128, 2 * width).tolist()
    return f"int8[2,{width}] {name} = {{{', '.join(map(str, entries))}}}"


def graph(nodes: str, *constants: str, kind: str = "int8", inputs: str = "", outputs: str = "") -> str:
    """x [N, 2, 2] -> int8 y [N, 2, 2] through `nodes`, with the layer's parameters w, m, b, s."""
    return f"""
        g ({kind}[N,2,2] x{inputs}) => (int8[N,2,2] y{outputs})
        <{", ".join((PARAMETERS, *constants))}>
        {{ {nodes} }}"""
