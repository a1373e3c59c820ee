"""How a build is made: one frozen model, read from YAML; an unknown key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from train.recipe import Strict, load_yaml

SHIPPED = Path(__file__).parent / "configs"
DEFAULT = "ecp5_85f"


class Folding(Strict):
    """Products or elements per cycle of one node."""

    PE: int | None = Field(None, ge=1)  # output rows (MatVec), channels (the others)
    SIMD: int | None = Field(None, ge=1)  # input columns (MatVec), tokens (TokenMix)
    in_lanes: int | None = Field(None, ge=1)  # elements a beat into, and out of, a MatVec or TokenMix
    out_lanes: int | None = Field(None, ge=1)
    fabric: int | None = Field(None, ge=0)  # of the PE * SIMD products, those made of LUTs (MatVec, TokenMix)
    packed: Literal[0, 1] | None = None  # two products in one DSP48E2 (MatVec, TokenMix)

    def values(self) -> dict[str, int]:
        """The values that were given."""
        return self.model_dump(exclude_none=True)


class Tables(Strict):
    """Tables of knots with linear interpolation, in place of 256 entries a channel."""

    every: Literal[2, 4, 8, 16] = 4  # codes from knot to knot; the coarsest that is tried where there is a bound
    method: Literal["refine", "fit", "subsample"] = "refine"  # knots trained with the network, fitted to each table, taken from it
    worst: int | None = Field(None, ge=0)  # codes by which an entry may be off; a table that needs more gets more knots
    loss: float | None = Field(None, ge=0)  # percent of top-1 on the calibration images that may be lost, in place of `worst`
    images: int = Field(50000, ge=1)  # training images for calibration
    steps: int = Field(800, ge=1)  # of method refine, 64 images each


class BuildConfig(Strict):
    """Everything a build needs to know beside the model."""

    target_cycles: int | None = Field(32768, ge=1)  # clock cycles per image; null: as few as the device has room for
    folding: dict[str, Folding] = {}  # by node name, in place of the chosen one
    margin: float = Field(0.85, gt=0, le=1)  # part of the device's LUTs that the folding may use by estimate, so that it can be routed
    tables: Tables | None = None  # null: full tables, exact
    registers: bool = True  # an AXI4-Lite slave with counters, and a guard that keeps images whole; false: TLAST is ignored
    stall_counters: bool = True  # of every link, among the registers; false: of the image's and the logits' streams alone
    check_images: int = Field(16, ge=1)  # images that run through the model around every pass
    simulate_images: int = Field(4, ge=2)  # images through the simulated top
    stalls: float = Field(0.25, ge=0, lt=1)  # chance per cycle that the input, and the output, waits in simulation
    device: str = "LFE5U-85F"
    package: str = "CABGA381"
    speed: int = Field(6, ge=6, le=8)  # grade
    mhz: float = Field(50.0, gt=0)  # clock that must be met
    seed: int = Field(1, ge=0)  # of placement, of random images and of stalls

    def node_folding(self) -> dict[str, dict[str, int]]:
        return {name: folding.values() for name, folding in self.folding.items()}


def load_config(path: Path | None) -> BuildConfig:
    """A YAML file, the name of a shipped configuration, or the default."""
    if path is None:
        path = Path(DEFAULT)
    shipped = SHIPPED / f"{path.name}.yaml"
    return load_yaml(BuildConfig, shipped if not path.exists() and str(path) == path.name and shipped.exists() else path)
