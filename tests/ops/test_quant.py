"""The function body of QONNX's Quant equals qonnx's own execution of it."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from custom_ops import OpError, add_functions
from custom_ops.quant import DOMAINS
from custom_ops.runtime import session


def quant_model(x, scale, zero=0.0, bits=8.0, domain=DOMAINS[0], **attributes):
    constants = {"scale": scale, "zero": np.float32(zero), "bits": np.float32(bits)}
    node = helper.make_node("Quant", ["x", *constants], ["y"], name="quant", domain=domain, **attributes)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph([node], "quant", infos[:1], infos[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(domain, 1)], ir_version=8)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("signed", "narrow"), [(1, 0), (1, 1), (0, 0), (0, 1)])
def test_body_equals_qonnx_ties_and_saturation_included(bits, signed, narrow, domain):
    x = (np.arange(-300, 300) / 4 * 2.0**-3).astype(np.float32)[:, None].repeat(3, 1)  # ties at every half step
    scale = np.array([2.0**-3, 2.0**-2, 2.0**-5])
    model = quant_model(x, scale, bits=bits, domain=domain, signed=signed, narrow=narrow, rounding_mode="ROUND")
    expected = execute_onnx(ModelWrapper(model, make_deepcopy=True), {"x": x})["y"]
    for optimize in (True, False):
        (got,) = session(add_functions(model), kernels=False, optimize=optimize).run(None, {"x": x})
        np.testing.assert_array_equal(got, expected)


def test_a_zero_point_and_a_scale_that_is_no_power_of_two():
    x = np.random.default_rng(0).normal(0, 3, (1000, 1)).astype(np.float32)
    model = quant_model(x, 0.0371, zero=3.0, signed=0, narrow=0)
    expected = execute_onnx(ModelWrapper(model, make_deepcopy=True), {"x": x})["y"]
    (got,) = session(add_functions(model), kernels=False).run(None, {"x": x})
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", ["HALF_UP", "FLOOR", "CEIL", "UP", "DOWN", "HALF_DOWN"])
def test_other_rounding_modes_are_refused_by_name(mode):
    model = quant_model(np.zeros((1, 1), np.float32), 1.0, signed=1, narrow=0, rounding_mode=mode)
    with pytest.raises(OpError, match=f"Quant quant: rounding_mode={mode} is refused; use ROUND or HALF_EVEN"):
        add_functions(model)


def test_bipolar_is_refused():
    model = quant_model(np.zeros((1, 1), np.float32), 1.0, bits=1.0, signed=1, narrow=0)
    with pytest.raises(OpError, match="Quant quant: signed with 1 bit is bipolar"):
        add_functions(model)
