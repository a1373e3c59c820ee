"""Whole tiny networks in FINN: every layer equal, then FINN's own passes over them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from custom_ops.runtime import session
from passes import TO_FINN
from tests.conftest import ACTIVATIONS, Network
from tests.passes.finn.graphs import execute
from tests.passes.graphs import apply

PART = "xczu7ev-ffvc1156-2-e"
each_network = pytest.mark.parametrize("activation", ACTIVATIONS)


def layers(network: Network, images: np.ndarray) -> dict[str, np.ndarray]:
    """What every node of the integer graph gives in onnxruntime."""
    model = network.stages["integer"]
    opened = session(model, kernels=False, outputs="all")
    return dict(zip([o.name for o in opened.get_outputs()], opened.run(None, {model.graph.input[0].name: images}), strict=True))


@each_network
def test_every_layer_is_equal_in_finn(finn, network: Callable[[str], Network], images: np.ndarray, activation: str) -> None:
    net = network(activation)
    model = apply(net.stages["integer"], *TO_FINN)
    onnx.checker.check_model(model)
    assert {n.domain for n in model.graph.node} == {"finn.custom_op.fpgadataflow"}
    expected = layers(net, images[:4])
    copies = {o for n in model.graph.node if n.op_type == "DuplicateStreams" for o in n.output}
    compared = set()
    for number in range(4):
        given = execute(model, images[number])
        for name, values in expected.items():
            twin = name if name in given else f"{name}_token"
            if twin in given and twin not in copies:
                np.testing.assert_array_equal(given[twin].ravel(), values[number].ravel(), name)
                compared.add(name)
    for node in net.stages["integer"].graph.node:
        if node.domain == "psaflow" or node.output[0] == net.stages["integer"].graph.output[0].name:
            assert node.output[0] in compared


@each_network
def test_the_nodes_are_finns_where_it_has_an_exact_one(network: Callable[[str], Network], activation: str) -> None:
    integer = network(activation).stages["integer"]
    before, after = (Counter(n.op_type for n in model.graph.node) for model in (integer, apply(integer, *TO_FINN)))
    mixers = sum(n.op_type == "MatMulInteger" and n.input[0] in {i.name for i in integer.graph.initializer} for n in integer.graph.node)
    assert after["PSATokenMix"] == mixers == 2
    assert after["MVAU"] == before["MatMulInteger"] - mixers
    assert after["PSALUT"] == before["ChannelLUT"]
    assert (after["OuterShuffle"], after["GlobalAccPool"], after["ElementwiseAdd"]) == (1, 1, 2 * mixers + 1)


def test_finns_passes_take_the_graph_and_do_not_change_an_answer(finn: Path, network: Callable[[str], Network], images: np.ndarray) -> None:
    from finn.transformation.fpgadataflow.create_dataflow_partition import CreateDataflowPartition
    from finn.transformation.fpgadataflow.minimize_accumulator_width import MinimizeAccumulatorWidth
    from finn.transformation.fpgadataflow.minimize_weight_bit_width import MinimizeWeightBitWidth
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes

    model = ModelWrapper(apply(network("lerp_psa").stages["integer"], *TO_FINN))
    before = execute(model, images[0])
    shapes = {t: model.get_tensor_shape(t) for t in model.get_all_tensor_names()}
    parent = model.transform(CreateDataflowPartition(str(finn / "partitions")))
    assert [n.op_type for n in parent.graph.node] == ["StreamingDataflowPartition"]
    model = ModelWrapper(getCustomOp(parent.graph.node[0]).get_nodeattr("model"))
    for step in (InferShapes(), MinimizeWeightBitWidth(), MinimizeAccumulatorWidth(), InferDataTypes()):
        model = model.transform(step)
    assert {t: model.get_tensor_shape(t) for t in model.get_all_tensor_names()} == shapes
    after = execute(model, images[0])
    assert all(np.array_equal(before[t], after[t]) for t in before if t)


def test_finns_estimates_width_converters_fifos_and_generated_files(finn: Path, network: Callable[[str], Network]) -> None:
    from finn.analysis.fpgadataflow.exp_cycles_per_layer import exp_cycles_per_layer
    from finn.analysis.fpgadataflow.res_estimation import res_estimation
    from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
    from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
    from finn.transformation.fpgadataflow.prepare_ip import PrepareIP
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.transformation.general import GiveUniqueNodeNames

    from passes.finn.fold_to_cycles import FoldToCycles

    model = ModelWrapper(apply(network("lerp_psa").stages["integer"], *TO_FINN)).transform(SpecializeLayers(PART))
    model = model.transform(GiveUniqueNodeNames()).transform(FoldToCycles(4096, PART), cleanup=False)
    cycles, resources = exp_cycles_per_layer(model), res_estimation(model, PART)
    assert cycles.keys() == resources.keys() == {n.name for n in model.graph.node}
    assert 0 < min(cycles.values()) <= max(cycles.values()) <= 4096
    ours = [n for n in model.graph.node if n.op_type.startswith("PSA")]
    assert len(ours) > 10
    assert all(resources[n.name]["LUT"] > 0 for n in ours)
    for step in (InsertDWC(), InsertFIFO(create_shallow_fifos=True), SpecializeLayers(PART), GiveUniqueNodeNames()):
        model = model.transform(step)
    assert {n.op_type for n in model.graph.node} >= {"StreamingDataWidthConverter_rtl", "StreamingFIFO_rtl"}
    assert_streams_join(model)
    model = model.transform(PrepareIP(PART, 10.0))
    for node in (n for n in model.graph.node if n.op_type.startswith("PSA")):
        op = getCustomOp(node)
        files = [Path(f) for f in op.get_rtl_file_list(abspath=True)]
        assert all(f.is_file() for f in files)
        assert files[-1] == Path(op.get_nodeattr("code_gen_dir_ipgen")).resolve() / f"{node.name}.v"
        assert op.code_generation_ipi()[-1] == f"create_bd_cell -type module -reference {node.name} {node.name}"


def assert_streams_join(model: ModelWrapper) -> None:
    """Both ends of every stream have the same width, and as many bits an image."""
    for node in model.graph.node:
        for index, tensor in enumerate(node.input):
            above = model.find_producer(tensor)
            if above is not None:
                given, wanted = getCustomOp(above), getCustomOp(node)
                place = list(above.output).index(tensor)
                assert given.get_outstream_width(place) == wanted.get_instream_width(index), tensor
                assert math.prod(given.get_folded_output_shape(place)) == math.prod(wanted.get_folded_input_shape(index)), tensor
