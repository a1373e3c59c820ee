"""What a compiled kernel does not compute gives a status that names op, node and shapes; never a crash, never a body instead."""

import re

import numpy as np
import pytest
from onnx import TensorProto
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from custom_ops.kernels import KernelError, library
from custom_ops.quant import DOMAINS as QUANT_DOMAINS
from custom_ops.runtime import ModelError, session

from .kernel_cases import CASES, one_node


@pytest.fixture(autouse=True)
def kernels():
    try:
        library()
    except KernelError as error:
        pytest.skip(str(error))


def i8(*shape):
    return np.zeros(shape, np.int8)


def i32(*shape, value=0):
    return np.full(shape, value, np.int32)


def f32(*shape, value=0.0):
    return np.full(shape, value, np.float32)


PSA_PARAMETERS = (f32(3, 2), f32(3, 2), f32(3, 2), f32(3), f32(3))
SHAPES = "x 'in0' {}, q_w 'in1' {}, q_b 'in2' {}, v 'in3' {}, o_w 'in4' {} and o_b 'in5' {}: "

REFUSED = [  # op, inputs, attributes, message
    ("ChannelLUT", (i8(2, 3, 4), i8(5, 256)), {}, "x 'in0' int8[2,3,4] and table 'in1' int8[5,256]: table must have one row for each of x's channels"),
    ("ChannelLUT", (i8(2, 4), i8(4, 77)), {}, "x 'in0' int8[2,4] and table 'in1' int8[4,77]: table must have 256 entries, or 129, 65, 33, 17, 9, 5 or 3 knots"),
    ("ChannelLUT", (i8(2, 4), i8(4)), {}, "x 'in0' int8[2,4] and table 'in1' int8[4]: x must be [.., channels], table [channels, entries]"),
    ("ChannelLUT", (i8(), i8(4, 256)), {}, "x 'in0' int8[] and table 'in1' int8[4,256]: x must be [.., channels], table [channels, entries]"),
    ("ChannelLUT", (i8(0, 4), i8(5, 256)), {}, "x 'in0' int8[0,4] and table 'in1' int8[5,256]: table must have one row for each"),
    ("ChannelLUT", (i8(2, 4), i8(4, 256)), {"lowest": 0}, "x 'in0' int8[2,4] and table 'in1' int8[4,256]: lowest=0 must be -128 for int8, 0 for uint8"),
    ("ChannelLUT", (f32(2, 4), i8(4, 256)), {}, "x 'in0' float[2,4] and table 'in1' int8[4,256]: x must be int8 or uint8"),
    ("ChannelLUT", (i32(2, 4), i8(4, 256)), {}, "x 'in0' int32[2,4] and table 'in1' int8[4,256]: x must be int8 or uint8"),
    ("Requant", (i8(2, 4), i32(3), i32(), i32(1)), {}, "x 'in0' int8[2,4], mult 'in1' int32[3], bias 'in2' int32[] and shift 'in3' int32[1]: mult, bias and shift must have 1 element or x's 4 along axis -1"),
    ("Requant", (i32(2, 4), i32(4), i32(2), i32(4)), {}, "bias 'in2' int32[2] and shift 'in3' int32[4]: mult, bias and shift must have 1 element or x's 4"),
    ("Requant", (i32(2, 4), i32(4), i32(4), i32(4)), {"axis": -2}, "must have 1 element or x's 2 along axis -2"),
    ("Requant", (i32(2, 1), i32(4), i32(1), i32(1)), {}, "must have 1 element or x's 1 along axis -1"),
    ("Requant", (i32(2, 4), i32(1, 4), i32(), i32()), {}, "mult 'in1' int32[1,4], bias 'in2' int32[] and shift 'in3' int32[]: mult, bias and shift must have 1 element"),
    ("Requant", (i32(4), i32(), i32(), i32()), {"axis": -2}, "x 'in0' int32[4], mult 'in1' int32[], bias 'in2' int32[] and shift 'in3' int32[]: x must have at least 2 dimensions for axis=-2"),
    ("Requant", (i32(), i32(), i32(), i32()), {}, "x must have at least 1 dimensions for axis=-1"),
    ("Requant", (i32(2, 4), i32(), i32(), i32(4, value=32)), {}, "x 'in0' int32[2,4], mult 'in1' int32[], bias 'in2' int32[] and shift 'in3' int32[4]: shift must be in 0..31"),
    ("Requant", (i8(2, 4), i32(), i32(), i32(value=-1)), {}, "shift must be in 0..31"),
    ("Requant", (f32(2, 4), i32(), i32(), i32()), {}, "x 'in0' float[2,4], mult 'in1' int32[], bias 'in2' int32[] and shift 'in3' int32[]: x must be int8 or int32"),
    ("GridLerp", (f32(2, 4), f32(5, 8)), {}, "x 'in0' float[2,4] and table 'in1' float[5,8]: table must have one row for each of x's channels"),
    ("GridLerp", (f32(2, 4), f32(4, 1)), {}, "x 'in0' float[2,4] and table 'in1' float[4,1]: table must have 2 to 2**24 points"),
    ("GridLerp", (f32(), f32(4, 8)), {}, "x 'in0' float[] and table 'in1' float[4,8]: x must be [.., channels]"),
    ("LerpPSA", (f32(2, 4), *PSA_PARAMETERS), {}, SHAPES.format("float[2,4]", *["float[3,2]"] * 3, *["float[3]"] * 2) + "x's last dimension must be the parameters' channels"),
    ("LerpPSA", (f32(2, 3), f32(3, 2), f32(3, 4), *PSA_PARAMETERS[2:]), {}, "q_w, q_b and v must have the same features"),
    ("PSA", (f32(2, 3), *PSA_PARAMETERS[:4], f32(1)), {}, "all parameters must have the same channels"),
    ("PSA", (f32(2, 3), f32(3), *PSA_PARAMETERS[1:]), {}, "q_w, q_b, v must be [channels, features], o_w, o_b [channels]"),
    ("PSA", (f32(2, 3), f32(3, 0), f32(3, 0), f32(3, 0), f32(3), f32(3)), {}, "there must be at least one feature"),
    ("PSA", (i8(2, 3), *PSA_PARAMETERS), {}, SHAPES.format("int8[2,3]", *["float[3,2]"] * 3, *["float[3]"] * 2) + "x must be float or double"),
    ("Quant", (f32(2, 4), f32(3), f32(), f32(value=8)), {}, "x 'in0' float[2,4], scale 'in1' float[3], zeropt 'in2' float[] and bitwidth 'in3' float[]: the shapes must broadcast"),
    ("Quant", (f32(2, 4), f32(), f32(), f32(value=1)), {"signed": 1}, "signed with 1 bit is bipolar in QONNX, not a range; use BipolarQuant"),
    ("Quant", (f32(2, 4), f32(), f32(), np.array("8", object)), {}, "bitwidth must be a float, double or integer"),
]  # fmt: skip


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize(("op", "arrays", "attributes", "message"), REFUSED)
def test_bad_tensors(op, arrays, attributes, message, computed):
    """Refused when the session runs, with all shapes, whether parameters are constants or inputs."""
    domain = QUANT_DOMAINS[0] if op == "Quant" else "psaflow"
    model = one_node(op, arrays, len(arrays) if computed else 1, domain, bodies=False, **attributes)
    for function in model.graph.output:
        if op == "PSA" and arrays[0].dtype == np.int8:
            function.type.tensor_type.elem_type = 3
    opened = session(model, kernels=True)
    feed = {f"in{i}": array for i, array in enumerate(arrays[: len(arrays) if computed else 1])}
    with pytest.raises(InvalidArgument) as error:
        opened.run(None, feed)
    said = str(error.value)
    assert f"{op} 'node' of " in said
    if not computed:  # onnxruntime lets equal constants share a name
        said, message = (re.sub(r"'in\d' ", "", text) for text in (said, message))
    assert message in said


BAD_ATTRIBUTES = [
    ("ChannelLUT", (i8(2, 4), i8(4, 256)), {"rounding": "UP"}, "ChannelLUT 'node': rounding=UP must be HALF_EVEN or HALF_UP"),
    ("ChannelLUT", (i8(2, 4), i8(4, 256)), {"lowest": 5}, "ChannelLUT 'node': lowest=5 must be -128 for int8, 0 for uint8"),
    ("Requant", (i8(2, 4), i32(), i32(), i32()), {"axis": 0}, "Requant 'node': axis=0 must be -1, -2, -3 or -4 (from the end)"),
    ("Requant", (i8(2, 4), i32(), i32(), i32()), {"axis": -5}, "Requant 'node': axis=-5 must be"),
    ("Requant", (i8(2, 4), i32(), i32(), i32()), {"lo": 1, "hi": 0}, "Requant 'node': lo=1, hi=0 must satisfy -128 <= lo <= hi <= 127"),
    ("Requant", (i8(2, 4), i32(), i32(), i32()), {"rounding": "FLOOR"}, "Requant 'node': rounding=FLOOR must be"),
    ("LerpPSA", (f32(2, 3), *PSA_PARAMETERS), {"grid": 1}, "LerpPSA 'node': grid=1 must be in 2..2**20"),
    ("Quant", (f32(2, 4), f32(), f32(), f32()), {"rounding_mode": "FLOOR"}, "Quant 'node': rounding_mode=FLOOR is refused; use ROUND or HALF_EVEN"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "arrays", "attributes", "message"), BAD_ATTRIBUTES)
def test_bad_attributes(op, arrays, attributes, message):
    """Refused when the session is made, by `session` in one line."""
    model = one_node(op, arrays, 1, QUANT_DOMAINS[0] if op == "Quant" else "psaflow", bodies=False, **attributes)
    with pytest.raises(ModelError) as error:
        session(model, kernels=True)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_quant_takes_every_type_of_bitwidth_that_its_body_takes(kind):
    arrays = np.linspace(-20, 20, 97, dtype=np.float32), f32(value=0.25), f32(value=1), np.array(1 if kind is np.bool_ else 4, kind)
    model = one_node("Quant", arrays, 1, QUANT_DOMAINS[0], signed=0)
    by_kernel, by_body = (session(model, kernels=kernels).run(None, {"in0": arrays[0]})[0] for kernels in (True, False))
    np.testing.assert_array_equal(by_kernel, by_body)


W, PARAMETERS = i8(6, 4), (i32(1, value=1),) * 3
FUSED = {"Linear": (W, *PARAMETERS), "TokenLinear": (W, *PARAMETERS), "PatchLinear": (i8(3, 256), i8(48, 4), *PARAMETERS), "LinearSum": (W, i32(1)), "TokenMean": ()}


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.int16])
@pytest.mark.parametrize("op", FUSED)
def test_a_fused_layer_of_what_are_no_codes(op, kind):
    """Refused when the session is made, where no shape is known yet, by op and node."""
    model = one_node(op, (np.zeros((2, 3, 6), kind), *FUSED[op]), 1, bodies=False)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32 if op == "LinearSum" else TensorProto.INT8
    with pytest.raises(ModelError, match=rf"of input parameter \(in0\) of operator \({op}\) in node \(node\) is invalid"):
        session(model, kernels=True)


def test_a_table_of_more_points_than_float32_counts():
    model = one_node("GridLerp", (f32(2, 1), f32(1, 2**24 + 1)), 1, bodies=False)
    with pytest.raises(InvalidArgument, match=r"table must have 2 to 2\*\*24 points"):
        session(model, kernels=True).run(None, {"in0": f32(2, 1)})


@pytest.mark.parametrize("op", CASES)
def test_an_empty_batch_gives_an_empty_result(op):
    make, _, _ = CASES[op]
    for seed in range(8):
        case = make(np.random.default_rng(seed), 1)
        shape = case.xs[0].shape
        axis = case.attributes.get("axis", -1)
        if len(shape) == 1 or -axis == len(shape) or op == "Quant":
            continue
        x = np.zeros((0, *shape[1:]), case.xs[0].dtype)
        assert session(case.model(), kernels=True).run(None, {"in0": x})[0].shape == x.shape
