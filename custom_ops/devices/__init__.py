"""FPGA devices as data: one YAML file each in this folder; what they hold and how the tools call them."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

FOLDER = Path(__file__).parent


class DeviceError(ValueError):
    """A device that is unknown or badly described; one line for the user."""


class Device(BaseModel):
    """One device. Block memories count in halves of 18 kbit, so an AMD RAMB36 is two."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    family: Literal["ecp5", "xcup"]
    lut: int = Field(gt=0)  # LUT4 (ecp5) or LUT6 (xcup)
    dsp: int = Field(gt=0)  # MULT18X18D or DSP48E2
    bram: int = Field(gt=0)  # of 18 kbit: DP16KD or RAMB18
    option: str | None = None  # nextpnr's for the size; null: no open place and route
    source: str  # where the figures are from

    @property
    def placeable(self) -> bool:
        """Whether the open tools make a bitstream for it."""
        return self.option is not None


def read_device(path: Path) -> Device:
    """The device a YAML file describes, which has its name; DeviceError names the file and the key."""
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise DeviceError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise DeviceError(f"{path}: holds no keys; a device has {', '.join(Device.model_fields)}")
    try:
        device = Device(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise DeviceError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    if device.name != path.stem:
        raise DeviceError(f"{path}: name: must be {path.stem!r} like the file, got {device.name!r}")
    return device


@functools.cache
def devices() -> dict[str, Device]:
    """All devices by name, family by family from the smallest."""
    found = sorted(map(read_device, FOLDER.glob("*.yaml")), key=lambda d: (d.family, d.lut, d.name))
    return {device.name: device for device in found}


def device(name: str) -> Device:
    """The device called `name`; DeviceError with near matches where there is none."""
    known = devices()
    if name not in known:
        folded = {other.lower(): other for other in known}
        close = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, 3)]
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
        raise DeviceError(f"device {name!r}: unknown; {hint}")
    return known[name]
