"""LerpPSA -> GridLerp: the function, evaluated once on its grid."""

import numpy as np
import pytest

from custom_ops.lerp_psa import lerp_psa_table
from passes.tabulate_psa import TabulatePSA
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, attributes, constant, node, parse

CHANNELS, EXPANSION = 3, 2
RNG = np.random.default_rng(0)
PARAMETERS = {name: RNG.normal(size=(CHANNELS, EXPANSION)).astype(np.float32) for name in ("q_w", "q_b", "v")}
PARAMETERS |= {name: RNG.normal(size=CHANNELS).astype(np.float32) for name in ("o_w", "o_b")}
X = np.linspace(-7, 7, 3 * 4001, dtype=np.float32).reshape(-1, 3)  # inside the grid and beyond both ends


def text(options: str) -> str:
    constants = ", ".join(
        f"float[{','.join(map(str, v.shape))}] {name} = {{{', '.join(map(repr, v.ravel().tolist()))}}}" for name, v in PARAMETERS.items()
    )
    return f"""
        g (float[N,3] x) => (float[N,3] y) <{constants}>
        {{ [act_lerppsa] y = psaflow.LerpPSA <{options}> (x, q_w, q_b, v, o_w, o_b) }}"""


@pytest.mark.parametrize("residual", [0, 1])
@pytest.mark.parametrize(("grid", "bound", "epsilon"), [(64, 4.0, 1.0), (17, 2.0, 0.25)])
def test_the_function_becomes_its_table(grid: int, bound: float, epsilon: float, residual: int) -> None:
    before = parse(text(f"grid = {grid}, bound = {bound}, epsilon = {epsilon}, residual = {residual}"))
    after = apply(before, TabulatePSA())
    lerp = node(after, "GridLerp")
    assert (lerp.domain, lerp.name, list(lerp.output), lerp.input[0]) == ("psaflow", "act_gridlerp", ["y"], "x")
    assert attributes(lerp) == {"bound": bound, "residual": residual}
    table = constant(after, lerp.input[1])
    assert table.dtype == np.float32
    assert (table == lerp_psa_table(**PARAMETERS, grid=grid, bound=bound, epsilon=epsilon)).all()
    assert [i.name for i in after.graph.initializer] == [lerp.input[1]]
    assert_equal_values(before, after, x=X)


def test_left_out_attributes_have_their_defaults() -> None:
    after = apply(parse(text("residual = 0")), TabulatePSA())
    assert constant(after, node(after, "GridLerp").input[1]).shape == (CHANNELS, 64)
    assert attributes(node(after, "GridLerp")) == {"bound": 4.0, "residual": 0}


def test_a_function_whose_parameters_are_computed_is_left_alone() -> None:
    other = text("residual = 1").replace("float[N,3] x)", "float[N,3] x, float[3] o)").replace("o_w, o_b) }", "o, o_b) }")
    assert_untouched(parse(other), TabulatePSA())


def test_the_exact_function_is_left_alone() -> None:
    assert_untouched(parse(text("residual = 1").replace("LerpPSA", "PSA")), TabulatePSA())
