"""LiftConstants: Constant nodes become initializers of the same name and value."""

import numpy as np
import onnx
from onnx import numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from passes.lift_constants import LiftConstants

TEXT = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[N,3] x) => (float[N,3] y)
    { c = Constant <value = float[3] {1, 2, 3}> ()
      y = Add (x, c) }"""


def test_a_constant_node_becomes_an_initializer_of_its_name():
    model = ModelWrapper(onnx.parser.parse_model(TEXT)).transform(LiftConstants(), cleanup=False).model
    assert [n.op_type for n in model.graph.node] == ["Add"]
    assert model.graph.initializer[0].name == "c"
    assert (numpy_helper.to_array(model.graph.initializer[0]) == np.array([1, 2, 3], np.float32)).all()
    onnx.checker.check_model(model)


def test_a_graph_without_constant_nodes_stays():
    text = TEXT.replace("c = Constant <value = float[3] {1, 2, 3}> ()", "c = Identity (x)")
    model = onnx.parser.parse_model(text)
    assert ModelWrapper(model).transform(LiftConstants(), cleanup=False).model.graph == model.graph
