"""psaflow bench lookup: a table per channel on an activation, as our kernel and as every composition of standard ops.

All candidates run in turn on one thread, as in `psaflow bench runtime`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipelines.bench_runtime import Candidate, Run, measure
from pipelines.console import UserError, columns, command

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from onnx import ModelProto

KERNEL, SCALAR = "kernel", "kernel_scalar"
# name -> (engine, nodes from x int8 [N, T, C] and the table to y). `table` is [C, 256], `table_t` its transpose, `flat` its entries
# in a row, `row` 256 * channel + 128 as int32 [C].
COMPOSITIONS = {
    "gather_elements": ("GatherElements along the codes", """
        code_32 = Cast <to = 6> (x)
        index = Add (code_32, lowest)
        rows = Reshape (index, two_dims)
        read = GatherElements <axis = 0> (table_t, rows)
        dims = Shape (x)
        y = Reshape (read, dims)"""),
    "gather": ("Gather from one flat table", """
        code_32 = Cast <to = 6> (x)
        index = Add (code_32, row)
        y = Gather (flat, index)"""),
    "gather_nd": ("GatherND by (channel, code)", """
        code_64 = Cast <to = 7> (x)
        index = Add (code_64, lowest_64)
        last = Unsqueeze (index, minus_one)
        zeros = Mul (last, zero_64)
        channel = Add (zeros, channels)
        both = Concat <axis = -1> (channel, last)
        y = GatherND (table, both)"""),
}  # fmt: skip


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    rows = [(r["name"], f"{r['microseconds']:.1f}", f"{r['elements_per_ns']:.2f}", r["engine"]) for r in result["rows"]]
    for line in columns([("name", "us", "elements/ns", "engine"), *rows], words=(0, 3)):
        click.echo(line)
    click.echo(f"int8 {result['shape']}, one thread, kernels on {result['isa']}")
    for name, ratio in result["times_as_fast"].items():
        click.echo(f"{KERNEL}: {ratio:.1f} times as fast as {name}")


@click.command("lookup")
@click.option("--images", type=click.IntRange(1), default=64, show_default=True, help="Images of the activation.")
@click.option("--tokens", type=click.IntRange(1), default=64, show_default=True, help="Tokens of an image.")
@click.option("--channels", type=click.IntRange(1), default=96, show_default=True, help="Channels, each with a table.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Per candidate.")
@functools.partial(command, plain=show)
def main(images: int, tokens: int, channels: int, seconds: float, data: Path | None) -> dict[str, Any]:
    """Time of ChannelLUT on int8 [images, tokens, channels]: our kernel, a scalar loop, and standard ops of onnxruntime.

    Needs no images: random codes take as long.
    """
    from custom_ops.kernels import isa

    shape = (images, tokens, channels)
    random = np.random.default_rng(0)
    x = random.integers(-128, 128, shape, np.int8)
    found = candidates(random.integers(-128, 128, (channels, 256), np.int8), x)
    measure(found, x, seconds, sizes=(images,))
    taken = {c.name: median(c.seconds[images]) for c in found}
    rows = [{"name": c.name, "engine": c.engine, "microseconds": taken[c.name] * 1e6,
             "elements_per_ns": x.size / taken[c.name] / 1e9} for c in found]  # fmt: skip
    ratios = {name: seconds / taken[KERNEL] for name, seconds in taken.items() if name != KERNEL}
    return {"shape": list(shape), "isa": isa(), "rows": rows, "times_as_fast": ratios}


def candidates(table: np.ndarray, x: np.ndarray) -> list[Candidate]:
    """Ours first; UserError where one of them does not give what the reference gives."""
    from custom_ops.channel_lut import channel_lut
    from custom_ops.runtime import session

    ours = model_of(table, "y = psaflow.ChannelLUT (x, table)")
    found = [Candidate(KERNEL, "", "our kernel", _in_place(x, session(ours, kernels=True, threads=1)))]
    with _portable():
        found.append(Candidate(SCALAR, "", "a scalar loop", _in_place(x, session(ours, kernels=True, threads=1))))
    found.append(Candidate("body", "", "our function body", _in_place(x, session(ours, kernels=False, threads=1))))
    for name, (engine, nodes) in COMPOSITIONS.items():
        found.append(Candidate(name, "", engine, _in_place(x, session(model_of(table, nodes), kernels=False, threads=1))))
    expected = channel_lut(x, table)
    for candidate in found:
        differ = int((candidate.run(x) != expected).sum())
        if differ:
            raise UserError(f"{candidate.name}: {differ} of {expected.size} elements differ from the reference")
    return found


def _in_place(x: np.ndarray, opened: Any) -> Run:
    """A session on `x` into one and the same memory: allocating it anew would take as long as the kernel."""
    y = np.zeros_like(x)
    bound = opened.io_binding()
    bound.bind_cpu_input(opened.get_inputs()[0].name, x)
    bound.bind_output(opened.get_outputs()[0].name, "cpu", 0, np.int8, y.shape, y.ctypes.data)

    def run(_: np.ndarray) -> np.ndarray:
        opened.run_with_iobinding(bound)
        return y

    return run


def model_of(table: np.ndarray, nodes: str) -> ModelProto:
    """int8 [N, T, C] through `nodes`; the constants are there for all of them."""
    from onnx import numpy_helper, parser

    import custom_ops

    channels = len(table)
    text = f"""<ir_version: 10, opset_import: ["" : 21, "psaflow" : 1]>
    lookup (int8[N, T, {channels}] x) => (int8[N, T, {channels}] y) {{
        {nodes}
    }}"""
    model = parser.parse_model(text)
    row = 256 * np.arange(channels, dtype=np.int32) + 128
    constants = {
        "table": table, "table_t": np.ascontiguousarray(table.T), "flat": table.reshape(-1), "row": row,
        "lowest": np.int32(128), "lowest_64": np.int64(128), "zero_64": np.int64(0), "minus_one": np.array([-1], np.int64),
        "two_dims": np.array([-1, channels], np.int64), "channels": np.arange(channels, dtype=np.int64)[:, None],
    }  # fmt: skip
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used)
    return custom_ops.add_functions(model)


@contextmanager
def _portable() -> Iterator[None]:
    """Sessions made inside use kernels without vector instructions."""
    before = os.environ.get("PSAFLOW_ISA")
    os.environ["PSAFLOW_ISA"] = "portable"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PSAFLOW_ISA"]
        else:
            os.environ["PSAFLOW_ISA"] = before


if __name__ == "__main__":
    main()
