"""bench rtl: foldings, counts and ratios of small networks."""

import numpy as np
import pytest
from onnx import helper

from accel import tools
from pipelines.bench_rtl import FIGURES, Row, folded, measure, ratios, relu_network

needs_tools = pytest.mark.skipif(not tools.available("yosys", "verilator", "g++"), reason="Yosys or Verilator is not installed")


@pytest.fixture(scope="module")
def tiny():
    return relu_network(16, embed=8, blocks=1)


def folding(model) -> dict[str, dict]:
    return {n.name: {a.name: helper.get_attribute_value(a) for a in n.attribute} for n in model.graph.node}


def test_the_article_s_folding_takes_a_whole_row_of_inputs_for_each_result(tiny) -> None:
    chosen = {name: (a["PE"], a["SIMD"]) for name, a in folding(folded(tiny, 12288, "xcu50", article=True)).items() if "SIMD" in a}
    assert chosen == {"embed_mat_vec": (1, 48), "blocks_0_token_linear_token_mix": (1, 64), "blocks_0_act2_mat_vec": (1, 8),
                      "blocks_0_fc2_mat_vec": (1, 16), "logits_mat_vec": (1, 8)}  # fmt: skip


@needs_tools
@pytest.mark.slow
@pytest.mark.tools
def test_cycles_are_simulated_and_cells_counted_and_what_was_not_measured_is_null(tiny, tmp_path) -> None:
    row = measure(Row("tiny", "relu", 8192), tiny, tmp_path, images=3, place=False, data=None)
    assert row["cycles_per_image"] == row["estimate"]["cycles"] <= 8192
    assert row["latency_cycles"] > row["cycles_per_image"] / 2
    assert row["dsp"] == row["estimate"]["estimate"]["dsp"]["used"]
    assert row["lut"] > 500 and row["bram"] > 0
    assert [f for f in FIGURES if row[f] is None] == ["fmax_mhz", "images_per_second"]


def test_ratios_are_those_of_rows_with_a_partner() -> None:
    rows = {"psa96_6144": {"dsp": 30, "lut": 1000}, "relu192_6144": {"dsp": 50, "lut": 2000}, "psa96_3072": {"dsp": 1, "lut": 1}}
    found = ratios(rows)
    assert found.keys() == {"psa96_6144 / relu192_6144"}
    assert np.allclose([*found["psa96_6144 / relu192_6144"].values()], [0.6, 0.5, 4000 / 7000])
