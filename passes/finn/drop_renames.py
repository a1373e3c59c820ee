"""The end of the graph: what only renames a stream is no hardware."""

from __future__ import annotations

from onnx import NodeProto

from passes.graph import Graph, Rewrite
from passes.require_hardware import PURE_RENAMING


class DropRenames(Rewrite):
    """y = Squeeze(f(x)) -> y = f(x) at the graph's output: the same elements in the same order, in the stream's own shape."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        target = node.output[0]
        maker = graph.producer(node.input[0]) if node.op_type in PURE_RENAMING and target in graph.outputs else None
        if maker is None or not graph.used_once(node.input[0]):
            return False
        inner, shape = node.input[0], graph.shape(node.input[0])
        kind = graph.model.get_tensor_datatype(inner)
        graph.proto.node.remove(node)
        maker.output[:] = [target if o == inner else o for o in maker.output]
        output = next(o for o in graph.proto.output if o.name == target)
        dimensions = output.type.tensor_type.shape
        del dimensions.dim[:]
        for size in shape:
            dimension = dimensions.dim.add()
            if size:
                dimension.dim_value = size
        graph.model.set_tensor_datatype(target, kind)
        graph.reindex()
        return True
