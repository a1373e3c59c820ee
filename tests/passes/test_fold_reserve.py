"""What is kept for FIFOs is no less than what SizeFifos then takes."""

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops.hw.cost import NOTHING
from passes.fold_reserve import reserve
from passes.fold_to_target import FoldToTarget
from passes.graph import Graph
from passes.hardware import hardware_nodes, plan
from passes.size_fifos import SizeFifos
from tests.passes.graphs import apply, parse


def constant(name: str, kind: str, *shape: int) -> str:
    values = np.random.default_rng(0).integers(0, 5, shape).ravel()
    return f"{kind}[{','.join(map(str, shape))}] {name} = {{{', '.join(map(str, values))}}}"


TEXT = f"""
    g (int8[N,16,8] x) => (int8[N,16,8] y) <{constant("w", "int8", 16, 16)}, {constant("b", "int32", 16)}, {constant("s", "int32", 16)}>
    {{ [fork] a, c = psaflow.hw.Fork (x)
       [mix] m = psaflow.hw.TokenMix (a, w, b, s)
       [sum] y = psaflow.hw.ResidualAdd <shift = 1> (m, c) }}"""


def test_a_token_mixer_s_residual_is_kept_as_block_memory_and_no_less_of_it_than_the_exact_fifos_take() -> None:
    folded = apply(parse(TEXT), FoldToTarget(1024))
    kept = reserve(Graph(ModelWrapper(folded)), "ecp5")
    graph = Graph(ModelWrapper(apply(folded, SizeFifos())))
    fifos = [plan(graph, n).usage("ecp5") for n in hardware_nodes(graph) if n.op_type == "Fifo"]
    exact = sum(fifos, NOTHING)
    assert fifos and kept.bram == 1
    assert kept.bram >= exact.bram
