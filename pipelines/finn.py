"""psaflow finn: a model as FINN's dataflow nodes and ours, executed in FINN, folded, with FINN's estimates."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipelines.build import finished_folder
from pipelines.console import Mismatch, UserError, command, progress
from pipelines.images import random_inputs, test_images
from pipelines.serving import CHECK_IMAGES, SEED, integer_model

if TYPE_CHECKING:  # imported where they are used, so that --help is quick
    from onnx import ModelProto
    from qonnx.core.modelwrapper import ModelWrapper

FILES = {"model": "finn.onnx", "specialized": "finn_specialized.onnx", "folding": "folding.json", "estimates": "estimates.json",
         "table": "estimates.md"}  # fmt: skip
COPIES = "DuplicateStreams"  # whose outputs are no layers


def show(result: dict[str, Any]) -> None:
    """The sums, what was compared, and where the table is."""
    total = result["total"]
    click.echo(f"{result['values']} values of {result['tensors']} tensors, {result['images']} images: 0 differ from the integer graph")
    click.echo(f"{result['board']}: {result['max_cycles']} cycles per image, {total['LUT']} LUT, {total['BRAM_18K']} BRAM18, "
               f"{total['DSP']} DSP; FINN has no LUT estimate for {result['nodes_without_lut_estimate']} of {len(result['nodes'])} nodes, "
               "and counts no LUTs of its matrix units and adders")  # fmt: skip
    click.echo(f"every node: {result['table']}")


@click.command("finn")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; an earlier one of ours there is replaced.")
@click.option("--board", default="ZCU104", show_default=True, help="One of FINN's boards.")
@click.option("--target-cycles", type=click.IntRange(1), default=49152, show_default=True, help="Clock cycles per image to fold to.")
@click.option("--images", type=click.IntRange(1), default=4, show_default=True, help="Images through FINN, every layer compared.")
@functools.partial(command, plain=show)
def main(source: Path, out: Path, board: str, target_cycles: int, images: int, data: Path | None) -> dict[str, Any]:
    """SOURCE (an .onnx up to 3_integer.onnx, or a checkpoint) to FINN's nodes in a folder, with estimates in JSON and as a table."""
    from pipelines.finn_session import finn_session

    with finn_session(), finished_folder(out, source) as folder:
        part = fpga_part(board)
        pixels = test_images(data, seed=1).images[:images]
        if len(pixels) < images:
            raise UserError(f"--images {images}: there are {len(pixels)}")
        integer = integer_model(source)
        model = to_finn(integer)
        compared = compare(model, integer, pixels)
        if compared["mismatches"]:
            raise Mismatch(f"{source}: {compared['mismatches']} of {compared['values']} values differ in FINN's execution; "
                           f"first: {compared['first_wrong']}", compared)  # fmt: skip
        specialized = specialize(model, target_cycles, part)
        result = {"source": source.name, "board": board, "part": part, "target_cycles": target_cycles, **compared,
                  **estimates(specialized, part)}  # fmt: skip
        model.save(str(folder / FILES["model"]))
        specialized.save(str(folder / FILES["specialized"]))
        write_folding(specialized, folder / FILES["folding"])
        (folder / FILES["estimates"]).write_text(json.dumps(result, indent=2) + "\n")
        (folder / FILES["table"]).write_text(table(result))
    return result | {"table": str(out / FILES["table"])}


def fpga_part(board: str) -> str:
    """The device of a board that FINN knows."""
    from finn.util.basic import part_map

    if board not in part_map:
        raise UserError(f"--board {board}: FINN knows {', '.join(part_map)}")
    return part_map[board]


def to_finn(integer: ModelProto) -> ModelWrapper:
    """An integer graph as FINN's nodes, neither HLS nor RTL yet, unfolded; the passes that onnxruntime can follow are checked by it."""
    from passes import HARDWARE, TO_FINN
    from passes.check import CheckedPasses, PassError
    from passes.graph import PassRefusal

    checked = CheckedPasses(integer, random_inputs("the integer graph", integer, CHECK_IMAGES, SEED))
    checked.run("hardware", HARDWARE)
    model = checked.wrapper
    for step in TO_FINN[len(HARDWARE) :]:
        try:
            model = model.transform(step, make_deepcopy=False, cleanup=False)
        except PassRefusal as refusal:
            raise PassError(f"{type(step).__name__}: {refusal}") from None
    return model


def compare(model: ModelWrapper, integer: ModelProto, images: np.ndarray) -> dict[str, Any]:
    """FINN's Python execution against onnxruntime on uint8 images: every tensor that both have, at least every layer's output.

    A layer is what a table or a requantization gives, and the logits. Tensors are compared in the order of their elements: FINN's
    have another shape. UserError where a layer is missing.
    """
    from finn.core.onnx_exec import execute_onnx

    from custom_ops.runtime import session

    reference = session(integer, kernels=False, outputs="all")
    names = [output.name for output in reference.get_outputs()]
    expected = dict(zip(names, reference.run(None, {reference.get_inputs()[0].name: images}), strict=True))
    twins = _twins(model, names)
    layers = {o for n in integer.graph.node if n.domain == "psaflow" for o in n.output} | {integer.graph.output[0].name}
    if missing := [name for name in names if name in layers and name not in twins]:
        raise UserError(f"{missing[0]}: is a layer of the integer graph and not in FINN's, so it cannot be compared")
    mismatches, first = 0, None
    with progress(len(images), "FINN", "image") as bar:
        for number, image in enumerate(images):
            given = execute_onnx(model, {model.graph.input[0].name: image[None].astype(np.float32)}, return_full_exec_context=True)
            for name, twin in twins.items():
                wanted = expected[name][number].ravel()
                got = given[twin].ravel()
                wrong = np.flatnonzero(got != wanted)
                if len(wrong) and first is None:
                    first = f"{name} of image {number} at element {wrong[0]}: {got[wrong[0]]:.0f}, expected {wanted[wrong[0]]}"
                mismatches += len(wrong)
            bar.update()
    return {"images": len(images), "tensors": len(twins), "layers": len(layers), "values": sum(expected[name].size for name in twins),
            "mismatches": mismatches, "first_wrong": first}  # fmt: skip


def _twins(model: ModelWrapper, names: list[str]) -> dict[str, str]:
    """Tensors of the integer graph and the same in FINN's: of the same name, or with `_token` behind it where the token axis is kept."""
    made = {o for n in model.graph.node if n.op_type != COPIES for o in n.output}
    pairs = {name: next((twin for twin in (name, f"{name}_token") if twin in made), None) for name in names}
    return {name: twin for name, twin in pairs.items() if twin is not None}


def specialize(model: ModelWrapper, target_cycles: int, part: str) -> ModelWrapper:
    """FINN's choice of HLS or RTL for every node, then the folding that reaches the target."""
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.transformation.general import GiveUniqueNodeNames

    from passes.check import PassError
    from passes.finn.fold_to_cycles import FoldToCycles
    from passes.graph import PassRefusal

    model = model.transform(SpecializeLayers(part)).transform(GiveUniqueNodeNames())
    try:
        return model.transform(FoldToCycles(target_cycles, part), cleanup=False)
    except PassRefusal as refusal:
        raise PassError(f"--target-cycles: {refusal}") from None


def write_folding(model: ModelWrapper, path: Path) -> None:
    """PE and SIMD by node, in the form of FINN's `folding_config_file`."""
    from finn.util.config import extract_model_config_to_json

    extract_model_config_to_json(model, path, ["PE", "SIMD"])


def estimates(model: ModelWrapper, part: str) -> dict[str, Any]:
    """FINN's analyses of a specialized model: each node's cycles and resources, their sums, the slowest node, the latency.

    A resource is None where FINN has no estimate for that node's type (its base class then answers 0).
    """
    from finn.analysis.fpgadataflow.dataflow_performance import dataflow_performance
    from finn.analysis.fpgadataflow.exp_cycles_per_layer import exp_cycles_per_layer
    from finn.analysis.fpgadataflow.res_estimation import res_estimation
    from finn.transformation.fpgadataflow.annotate_cycles import AnnotateCycles
    from qonnx.custom_op.registry import getCustomOp

    cycles, resources = model.analysis(exp_cycles_per_layer), res_estimation(model, part)
    nodes = []
    for node in model.graph.node:
        op = getCustomOp(node)
        folding = {name: op.get_nodeattr(name) for name in ("PE", "SIMD") if name in op.get_nodeattr_types()}
        nodes.append({"node": node.name, "layer": node.output[0], "op": node.op_type, **folding, "cycles": cycles[node.name],
                      **{name: int(resources[node.name][name]) if _is_estimated(op, name) else None for name in RESOURCES}})  # fmt: skip
    performance = model.transform(AnnotateCycles()).analysis(dataflow_performance)
    return {
        "max_cycles": performance["max_cycles"], "slowest": performance["max_cycles_node_name"],
        "latency_cycles": performance["critical_path_cycles"],
        "total": {name: sum(node[name] or 0 for node in nodes) for name in RESOURCES},
        "nodes_without_lut_estimate": sum(node["LUT"] is None for node in nodes), "nodes": nodes,
    }  # fmt: skip


RESOURCES = {"LUT": "lut_estimation", "BRAM_18K": "bram_estimation", "URAM": "uram_estimation", "DSP": "dsp_estimation"}


def _is_estimated(op: Any, resource: str) -> bool:
    """Whether a node's class has an estimate of its own."""
    from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp

    return getattr(type(op), RESOURCES[resource]) is not getattr(HWCustomOp, RESOURCES[resource])


def table(result: dict[str, Any]) -> str:
    """Markdown: a row per node, then the sums; `-` where FINN has no estimate."""
    columns = ("node", "layer", "PE", "SIMD", "cycles", *RESOURCES)
    cells = [["-" if node.get(column) is None else str(node[column]) for column in columns] for node in result["nodes"]]
    total = {"node": "total", "layer": f"{len(cells)} nodes", "cycles": f"slowest {result['max_cycles']}", **result["total"]}
    rows = [columns, ["---"] * len(columns), *cells, [str(total.get(column, "")) for column in columns]]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (f"# FINN's estimates of {result['source']} for {result['board']} ({result['part']})\n\n"
            f"At most {result['target_cycles']} cycles per image were asked for. Execution in FINN: {result['values']} values of "
            f"{result['tensors']} tensors on {result['images']} images, {result['mismatches']} differ from the integer graph. "
            f"`-`: FINN has no estimate for that node.\n\n{lines}\n")  # fmt: skip


if __name__ == "__main__":
    main()
