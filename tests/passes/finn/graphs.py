"""Tiny graphs of hardware nodes through one rewrite to FINN, and their values in FINN's execution."""

from __future__ import annotations

import warnings

import numpy as np
from onnx import ModelProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from passes.annotate import AnnotateDatatypes
from passes.finn.finn_layout import FinnLayout
from tests.passes.graphs import apply, parse, run


def annotated(text: str) -> ModelProto:
    """A parsed graph with the datatype of every tensor, as the rewrites to FINN get it."""
    return apply(parse(text), AnnotateDatatypes())


def datatypes(model: ModelProto) -> dict[str, str]:
    """The QONNX datatype of every annotated tensor."""
    return {a.tensor_name: p.value for a in model.graph.quantization_annotation for p in a.quant_parameter_tensor_names}


def execute(model: ModelProto | ModelWrapper, *inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor in FINN's Python execution, for one image; a value outside its tensor's datatype is an error."""
    from finn.core.onnx_exec import execute_onnx

    wrapper = model if isinstance(model, ModelWrapper) else ModelWrapper(model)
    feeds = {value.name: x.astype(np.float32).reshape(wrapper.get_tensor_shape(value.name)) for value, x in zip(wrapper.graph.input, inputs)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return execute_onnx(wrapper, feeds, return_full_exec_context=True)


def assert_equal_in_finn(before: ModelProto, *passes: Transformation, **feeds: np.ndarray) -> ModelProto:
    """The graph after the passes gives in FINN what `before` gives in onnxruntime, image by image; returns it."""
    after = apply(before, *passes, FinnLayout())
    expected = run(before, **feeds)
    for number in range(len(next(iter(feeds.values())))):
        given = execute(after, *(x[number] for x in feeds.values()))
        for output, wanted in zip(after.graph.output, expected, strict=True):
            np.testing.assert_array_equal(given[output.name].ravel(), wanted[number].ravel())
    return after
