"""psaflow inspect: what is in a model, node by node, or what differs between two of them."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import onnx
from onnx import NodeProto, TensorProto

from pipelines.console import UserError, columns, command

HEADER = ("node", "op", "inputs", "output", "datatype", "MACs", "parameters", "table bits")
COUNTS = ("macs", "parameters", "table_bits")
WORDS = 5  # columns of words; the others are numbers
ALONG_TOKENS = ("TokenLinear", "TokenMix")  # their weight is [tokens, tokens], used once per channel
BITS: dict[int, int] = {TensorProto.FLOAT: 32, TensorProto.DOUBLE: 64, TensorProto.INT8: 8, TensorProto.UINT8: 8, TensorProto.INT32: 32}
Shape = list[int | str]  # a name where a dimension is dynamic


@dataclass(frozen=True)
class Row:
    """One node. Counts are per image: the first dimension counts as one."""

    node: str
    op: str
    inputs: str  # shapes of the activations
    output: str  # shape
    datatype: str  # of the output: QONNX's where it is annotated, else ONNX's
    macs: int
    parameters: int  # elements of the constants that it reads
    table_bits: int


def show(result: dict[str, Any]) -> None:
    """The rows in columns and their sums, or what changed."""
    for line in result.get("changes", ()):
        click.echo(printable(line))
    for model in result.get("models", ()):
        rows = [[str(value or "") for value in row.values()] for row in model["rows"]]
        total = ["total", f"{len(rows)} nodes", "", "", "", *(str(model[count]) for count in COUNTS)]
        click.echo(model["file"])
        for line in columns([HEADER, *([*map(printable, row[:WORDS]), *row[WORDS:]] for row in rows), total], words=range(WORDS)):
            click.echo(line)


@click.command("inspect")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--diff", is_flag=True, help="Two models: what the second has otherwise.")
@click.option("--netron", is_flag=True, help="Open Netron on a model, in the browser, until interrupted.")
@partial(command, plain=show)
def main(models: tuple[Path, ...], diff: bool, netron: bool, data: Path | None) -> dict[str, Any]:
    """Nodes of MODELS with shapes, datatypes, MACs, parameters and table bits."""
    from custom_ops.load import parse

    if diff and len(models) != 2:
        raise UserError(f"--diff compares two models, got {len(models)}")
    if netron and len(models) != 1:
        raise UserError(f"--netron opens one model, got {len(models)}")
    protos = [parse(path, str(path)) for path in models]
    if netron:
        _open_netron(models[0])
    if diff:
        return {"changes": differences(rows_of(protos[0]), rows_of(protos[1])) or ["no difference"]}
    return {"models": [_report(path, rows_of(proto)) for path, proto in zip(models, protos, strict=True)]}


def _report(path: Path, rows: list[Row]) -> dict[str, Any]:
    sums = {count: sum(getattr(row, count) for row in rows) for count in COUNTS}
    return {"file": str(path), "rows": [asdict(row) for row in rows], **sums}


def rows_of(model: onnx.ModelProto) -> list[Row]:
    """A row per node of the main graph, in its order; shapes that are not noted are inferred where that is possible."""
    model = _inferred(model)
    values = {v.name: v for v in (*model.graph.value_info, *model.graph.input, *model.graph.output) if v.type.HasField("tensor_type")}
    constants = {i.name: i for i in model.graph.initializer}
    constants |= {o: a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.HasField("t") for o in n.output}
    datatypes = {a.tensor_name: p.value for a in model.graph.quantization_annotation for p in a.quant_parameter_tensor_names
                 if p.key == "finn_datatype"}  # fmt: skip
    return [_row(node, values, constants, datatypes) for node in model.graph.node]


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with all the shapes that inference finds; as it is where the model is too strange for inference."""
    from custom_ops import OpError, add_functions

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with contextlib.suppress(OpError, IndexError, ValueError, TypeError):
        add_functions(copy)  # through whose bodies shapes are inferred
    for candidate in (copy, model):
        with contextlib.suppress(onnx.shape_inference.InferenceError, ValueError, RuntimeError):
            return onnx.shape_inference.infer_shapes(candidate, data_prop=True)
    return model


def _row(node: NodeProto, values: Mapping[str, onnx.ValueInfoProto], constants: Mapping[str, TensorProto],
         datatypes: Mapping[str, str]) -> Row:  # fmt: skip
    out = next(iter(node.output), "")
    known = {n: values[n] for n in (*node.input, out) if n in values}
    shapes = {name: shape_of(value) for name, value in known.items() if value.type.tensor_type.HasField("shape")}
    kind = values[out].type.tensor_type.elem_type if out in values else 0
    datatype = datatypes.get(out) or (TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() and kind else "?")
    read = [constants[name] for name in node.input if name in constants]
    tables = [t for name, t in _named(node, constants).items() if "table" in name]
    inputs = [text_of(shapes[i]) if i in shapes else "?" for i in node.input if i and i not in constants]
    return Row(
        node.name or out, node.op_type, ", ".join(inputs),
        text_of(shapes[out]) if out in shapes else "?", datatype, macs_of(node, shapes, constants),
        sum(math.prod(t.dims) for t in read), sum(math.prod(t.dims) * BITS.get(t.data_type, 0) for t in tables),
    )  # fmt: skip


def _named(node: NodeProto, constants: Mapping[str, TensorProto]) -> dict[str, TensorProto]:
    """The constants of one of our ops by the names of its inputs."""
    from custom_ops import OPS
    from custom_ops.hw import OPS as HARDWARE

    op = {"psaflow": OPS, "psaflow.hw": HARDWARE}.get(node.domain, {}).get(node.op_type)
    names = op.inputs if op is not None else ()
    return {name: constants[tensor] for name, tensor in zip(names, node.input, strict=False) if tensor in constants}


def macs_of(node: NodeProto, shapes: Mapping[str, Shape], constants: Mapping[str, TensorProto]) -> int:
    """Multiplications of a product per image; 0 for other nodes, and where a shape is unknown."""
    out = shapes.get(next(iter(node.output), ""))
    weight = _named(node, constants).get("weight")
    if not out or not node.input:
        return 0
    if weight is not None:
        times = out[-1] if node.op_type in ALONG_TOKENS else elements(out[1:-1])
        return math.prod(weight.dims) * (times if isinstance(times, int) else 1)
    if node.op_type in ("MatMul", "MatMulInteger", "Gemm"):
        first = node.input[0]
        inner = (list(constants[first].dims) if first in constants else shapes.get(first)) or [0]
        return elements(out[1:]) * (inner[-1] if isinstance(inner[-1], int) else 0)
    if node.op_type in ("Conv", "ConvInteger") and len(node.input) > 1 and node.input[1] in constants:
        kernel = constants[node.input[1]].dims
        return elements(out[1:]) * math.prod(kernel[1:])
    return 0


def printable(text: str) -> str:
    """Names come from strangers: what a terminal would obey is shown as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def elements(shape: Shape) -> int:
    """Product of the known dimensions."""
    return math.prod(d for d in shape if isinstance(d, int))


def shape_of(value: onnx.ValueInfoProto) -> Shape:
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in value.type.tensor_type.shape.dim]


def text_of(shape: Shape) -> str:
    """4x64x96; a dynamic dimension is N; no dimensions are a scalar."""
    return "x".join("N" if isinstance(d, str) else str(d) for d in shape) or "scalar"


def differences(before: list[Row], after: list[Row]) -> list[str]:
    """One line per op type whose number changed, per sum that changed, and per node of a name that both have."""
    lines = []
    counts = [Counter(row.op for row in rows) for rows in (before, after)]
    for op in sorted(counts[0] | counts[1]):
        if counts[0][op] != counts[1][op]:
            lines.append(f"{op}: {counts[0][op]} -> {counts[1][op]} nodes")
    for count in COUNTS:
        sums = [sum(getattr(row, count) for row in rows) for rows in (before, after)]
        if sums[0] != sums[1]:
            lines.append(f"{count.replace('_', ' ')}: {sums[0]} -> {sums[1]}")
    there = _by_name(after)
    for key, row in _by_name(before).items():
        old, new = asdict(row), asdict(there.get(key, row))
        changed = [f"{key.replace('_', ' ')} {old[key] or '-'} -> {new[key] or '-'}" for key in old if old[key] != new[key]]
        if changed:
            lines.append(f"{old['node']}: {', '.join(changed)}")
    return lines


def _by_name(rows: list[Row]) -> dict[tuple[str, int], Row]:
    """Rows by name and, where several share one, their number."""
    seen: Counter[str] = Counter()
    found = {}
    for row in rows:
        found[row.node, seen[row.node]] = row
        seen[row.node] += 1
    return found


def _open_netron(path: Path) -> None:
    try:
        import netron
    except ImportError:
        raise UserError("--netron: Netron is not installed; pip install netron") from None
    netron.start(str(path))
    netron.wait()


if __name__ == "__main__":
    main()
