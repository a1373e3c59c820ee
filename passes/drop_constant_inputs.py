"""Constants that an exporter lists among the inputs as well."""

from __future__ import annotations

from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from passes.graph import free_inputs


class DropConstantInputs(Transformation):
    """inputs (x, W), W an initializer -> inputs (x): from here on nobody may feed another W."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        free = free_inputs(model.model)
        del model.graph.input[:]
        model.graph.input.extend(free)
        return model, False
