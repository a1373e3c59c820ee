"""A picture of tables and the knots that stand for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.console import png

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from onnx import ModelProto

CHANNELS = 4  # of each table
CODES = np.arange(-128, 128)


def draw(before: ModelProto, after: ModelProto) -> bytes:
    """A .png: of each table whose entries became knots the channel with the worst error, and others evenly down to the best."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from passes.table_errors import tables_of

    old, new = tables_of(before), tables_of(after)
    shown = [name for name, table in new.items() if table.knots.shape != table.full.shape] or list(new)
    figure, axes = plt.subplots(max(len(shown), 1), CHANNELS, figsize=(3 * CHANNELS, 1.9 * max(len(shown), 1)), squeeze=False, sharex=True)
    for row, name in zip(axes, shown):
        full, table = old[name].full.astype(int), new[name]
        error = np.abs(table.full - full)
        worst_first = np.lexsort((error.mean(1), error.max(1)))[::-1]
        picked = worst_first[np.linspace(0, len(full) - 1, CHANNELS).astype(int)]
        at = np.linspace(-128, 128, table.knots.shape[1])
        for axis, channel in zip(row, picked, strict=True):
            axis.plot(CODES, full[channel], color="#4878a8", linewidth=1.0, label="256 entries")
            axis.plot(CODES, table.full[channel], color="#b04040", linewidth=0.7, label="interpolated")
            axis.plot(at, table.knots[channel], ".", color="#b04040", markersize=3, label="knots")
            axis.set_title(f"{table.node}, channel {channel}: worst {error[channel].max()}, mean {error[channel].mean():.2f}", fontsize=7)
            axis.grid(alpha=0.3)
            axis.tick_params(labelsize=6)
    axes[0][0].legend(fontsize=6)
    figure.tight_layout()
    return png(figure)
