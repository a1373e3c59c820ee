"""What our ops inside FINN share: one stream of vectors in, one out, PE channels in a beat, the parameters in the module itself."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from qonnx.core.datatype import BaseDataType, DataType

from custom_ops.finn.cost import block_efficiency, block_rams
from custom_ops.hw.node import Memory
from custom_ops.op import OpError


class FinnOp(HWCustomOp):
    """A subclass names its parameters' datatypes and gives `values`; its onnx node's first input is the stream, the others constants.

    Shapes are FINN's: a stream is [*numInputVectors, NumChannels], folded [*numInputVectors, NumChannels / PE, PE].
    """

    parameter_datatypes: ClassVar[tuple[str, ...]]  # of the inputs behind the stream

    def get_nodeattr_types(self) -> dict[str, Any]:
        return super().get_nodeattr_types() | {
            "NumChannels": ("i", True, 0),
            "PE": ("i", False, 1),
            "numInputVectors": ("ints", False, [1]),
            "inputDataType": ("s", True, ""),
            "outputDataType": ("s", False, "INT8"),
        }

    def values(self, x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        """The op's reference: integers int64 [..., C] in, int8 out."""
        raise NotImplementedError(type(self).__name__)

    def check_input(self, datatype: BaseDataType) -> None:
        """Raises OpError for a stream that the module does not take."""
        if not (datatype.is_integer() and datatype.signed()):
            raise OpError(f"{self.label}: its input is {datatype.name}; supported is INT2 to INT32")

    @property
    def label(self) -> str:
        return f"{self.onnx_node.op_type} {self.onnx_node.name or self.onnx_node.output[0]}"

    @property
    def pe(self) -> int:
        """Channels in a beat; OpError where it does not divide them."""
        pe, channels = int(self.get_nodeattr("PE")), int(self.get_nodeattr("NumChannels"))
        if pe < 1 or channels % pe:
            raise OpError(f"{self.label}: PE={pe} must divide {channels} channels")
        return pe

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """FINN's tensors are float32 that hold integers; all of ours are below 2**24, so nothing is lost either way."""
        node = self.onnx_node
        stream, *parameters = (context[name] for name in node.input)
        result = self.values(stream.astype(np.int64), *(p.astype(np.int64) for p in parameters))
        context[node.output[0]] = result.astype(np.float32)

    def infer_node_datatype(self, model: Any) -> None:
        """Takes the input's datatype over; the output's is a property of the op."""
        datatype = model.get_tensor_datatype(self.onnx_node.input[0])
        self.check_input(datatype)
        self.set_nodeattr("inputDataType", datatype.name)
        model.set_tensor_datatype(self.onnx_node.output[0], self.get_output_datatype())

    def verify_node(self) -> None:
        """Raises OpError for a stream or a folding that the module does not take."""
        self.check_input(self.get_input_datatype())
        self.get_folded_input_shape()

    def get_input_datatype(self, ind: int = 0) -> BaseDataType:
        return DataType[self.parameter_datatypes[ind - 1] if ind else self.get_nodeattr("inputDataType")]

    def get_output_datatype(self, ind: int = 0) -> BaseDataType:
        return DataType[self.get_nodeattr("outputDataType")]

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        return (*map(int, self.get_nodeattr("numInputVectors")), int(self.get_nodeattr("NumChannels")))

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        return self.get_normal_input_shape()

    def _folded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] // self.pe, self.pe)

    def get_folded_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        return self._folded(self.get_normal_input_shape())

    def get_folded_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        return self._folded(self.get_normal_output_shape())

    def get_instream_width(self, ind: int = 0) -> int:
        """0 bits for a parameter: it is no stream."""
        return 0 if ind else self.pe * self.get_input_datatype().bitwidth()

    def get_outstream_width(self, ind: int = 0) -> int:
        return self.pe * self.get_output_datatype().bitwidth()

    def get_exp_cycles(self) -> int:
        return math.prod(self.get_folded_output_shape()[:-1])

    def uram_estimation(self, fpgapart: str) -> int:
        return 0

    def memories(self) -> list[Memory]:
        """What the module stores."""
        raise NotImplementedError(type(self).__name__)

    def bram_estimation(self, fpgapart: str) -> int:
        """18-kbit blocks."""
        return sum(map(block_rams, self.memories()))

    def bram_efficiency_estimation(self, fpgapart: str) -> float:
        return block_efficiency(self.memories())

    def dsp_estimation(self, fpgapart: str) -> int:
        return 0
