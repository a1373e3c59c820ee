"""What compressed tables lose: bits and errors, table by table, between two models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops import DOMAIN
from custom_ops.channel_lut import FULL
from passes.expand_table import full_table
from passes.graph import Graph, PassRefusal, attribute

ENTRY = 8  # bits


@dataclass(frozen=True)
class TableError:
    """One table: what it was and what it is. Errors are in codes of its result."""

    node: str
    rows: int  # channels, or 1 where all share a row
    entries: int  # of a row: 256, or knots
    every: int  # codes from knot to knot; 1 if full
    bits: int
    full_bits: int
    worst: int  # of all rows and codes
    mean: float
    exact: float  # share of entries without an error
    used_mean: float | None  # the mean over codes as they occur; None where that was not counted


@dataclass(frozen=True)
class Table:
    """A table of a model: `knots` int8 [rows, entries], `full` the same on all 256 codes."""

    node: str
    knots: np.ndarray
    full: np.ndarray


def tables_of(model: ModelProto) -> dict[str, Table]:
    """By output: every ChannelLUT of the integer stage whose table is constant."""
    graph = Graph(ModelWrapper(model))
    found = {}
    for node in graph.proto.node:
        knots = graph.constant(node.input[1]) if node.op_type == "ChannelLUT" and node.domain == DOMAIN else None
        if knots is not None:
            found[node.output[0]] = Table(node.name, knots, full_table(knots, str(attribute(node, "rounding", "HALF_EVEN"))))
    return found


def table_errors(before: ModelProto, after: ModelProto, counts: Mapping[str, np.ndarray] | None = None) -> list[TableError]:
    """A row for each table of `after`, against that of the same output in `before`; PassRefusal where that is missing."""
    old, rows = tables_of(before), []
    for output, table in tables_of(after).items():
        if output not in old:
            raise PassRefusal(f"{output}: no table of that name in the model before; compare two forms of one model")
        error = np.abs(table.full.astype(int) - old[output].full)
        seen = None if counts is None or output not in counts else counts[output]
        rows.append(TableError(
            node=table.node, rows=len(table.knots), entries=table.knots.shape[1],
            every=1 if table.knots.shape[1] == FULL else FULL // (table.knots.shape[1] - 1), bits=table.knots.size * ENTRY,
            full_bits=old[output].full.size * ENTRY, worst=int(error.max()), mean=float(error.mean()), exact=float((error == 0).mean()),
            used_mean=None if seen is None or not seen.sum() else float((error * seen).sum() / seen.sum()),
        ))  # fmt: skip
    return rows
