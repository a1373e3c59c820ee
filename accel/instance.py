"""Hardware nodes as instances of the modules in rtl/: module, parameters, contents of the memories."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from accel import packing, registers
from custom_ops.channel_lut import interpolated_bits
from custom_ops.datatypes import accumulator_bits, signed_bits

RTL = Path(__file__).with_name("rtl")
_OUT = ("output_buffer", "delay")
_PRODUCTS = ("dot_products", "packed_products", "lut_multiplier", "adder_tree")
_MATRIX = ("matrix_core", *_PRODUCTS, "requant", "rom_stream", "lane_ram", "ping_pong", *_OUT)
_USES = {
    "patches": ("ping_pong", "ram", *_OUT),
    "channel_lut": ("table_lane", "interpolate", "dual_rom", "rom", *_OUT),
    "channel_requant": ("requant", "rom", *_OUT),
    "mat_vec": ("token_buffer", *_MATRIX),
    "token_mix": _MATRIX,
    "residual_add": ("requant", *_OUT),
    "token_mean": ("requant", *_OUT),
    "stream_fork": ("skid_buffer",),
    "fifo": ("ram", *_OUT),
    "width_converter": ("skid_buffer",),
    "input_guard": ("skid_buffer",),
    "register_file": ("event_counters", "ram"),
}
MODULES = frozenset(_USES) | {used for uses in _USES.values() for used in uses}


class InstanceError(ValueError):
    """A node that the RTL cannot compute; the message is one line that names it."""


def sources_of(module: str) -> list[str]:
    """The files of rtl/ that a module needs, its own first."""
    return [f"{stem}.sv" for stem in (module, *_USES[module])]


@dataclass(frozen=True)
class Instance:
    """One instance of rtl/<module>.sv; streams are {port prefix: bytes per beat}."""

    name: str
    module: str
    parameters: Mapping[str, int | str]
    inputs: dict[str, int]
    outputs: dict[str, int]
    memories: dict[str, str] = field(default_factory=dict)  # file -> text for $readmemh
    pins: dict[str, tuple[str, int]] = field(default_factory=dict)  # beside clk, rst_n and streams: direction, bits

    @property
    def sources(self) -> list[str]:
        """The files of rtl/ that the instance needs, its module first."""
        return sources_of(self.module)


@dataclass(frozen=True)
class Rounding:
    """The last step of a requantization: how it rounds and where it clips."""

    rounding: str = "HALF_EVEN"
    lo: int = -128
    hi: int = 127

    def parameters(self, name: str) -> dict[str, int]:
        if self.rounding not in ("HALF_EVEN", "HALF_UP"):
            raise InstanceError(f"{name}: rounding {self.rounding!r} is neither HALF_EVEN nor HALF_UP")
        if not -128 <= self.lo <= self.hi <= 127:
            raise InstanceError(f"{name}: lo={self.lo}, hi={self.hi} are not ordered int8 codes")
        return {"HALF_UP": int(self.rounding == "HALF_UP"), "LO": self.lo, "HI": self.hi}


def _divides(name: str, what: str, lanes: int, count: int, counted: str) -> None:
    if lanes < 1 or count % lanes:
        divisors = ", ".join(str(d) for d in range(1, count + 1) if count % d == 0)
        raise InstanceError(f"{name}: {what}={lanes} must divide {count} {counted}; try {divisors}")


def _shift_parameters(name: str, shift: np.ndarray) -> tuple[dict[str, int], np.ndarray]:
    """SHIFT_BASE, SHIFT_BITS and what the memory holds: shift - SHIFT_BASE."""
    if shift.min() < 0 or shift.max() > 31:
        raise InstanceError(f"{name}: shifts {shift.min()}..{shift.max()} are not in 0..31")
    base = int(shift.min())
    return {"SHIFT_BASE": base, "SHIFT_BITS": max(1, int(shift.max() - base).bit_length())}, shift - base


@dataclass(frozen=True)
class Folding:
    """How a matrix unit is folded, and its streams' elements a beat."""

    pe: int = 1  # results at once
    simd: int = 1  # products of a result at once
    in_lanes: int = 1
    out_lanes: int = 1
    fabric: int = 0  # of the pe * simd products, those made of LUTs
    packed: int = 0  # 1: two products that share an operand in one DSP48E2

    def parameters(self) -> dict[str, int]:
        lanes = {"IN_LANES": self.in_lanes, "OUT_LANES": self.out_lanes}
        return {"PE": self.pe, "SIMD": self.simd, **lanes, "FABRIC": self.fabric, "PACKED": self.packed}

    @property
    def results(self) -> int:
        """Results that are requantized at once."""
        return min(self.pe, self.out_lanes)

    def check_lanes(self, name: str, inside: str, gathered: int, columns: int, rows: int) -> None:
        """in_lanes against `gathered` (what `inside` names) of `columns`, out_lanes against PE of `rows`."""
        _divides(name, "in_lanes", self.in_lanes, columns, "channels in")
        _divides(name, "out_lanes", self.out_lanes, rows, "channels out")
        for what, lanes, other, units in (
            ("in_lanes", self.in_lanes, inside, gathered),
            ("out_lanes", self.out_lanes, "PE", self.pe),
        ):
            if max(lanes, units) % min(lanes, units):
                raise InstanceError(
                    f"{name}: {what}={lanes} and {other}={units}: one must divide the other; try {what}={np.gcd(lanes, units)}"
                )


def _product_parameters(
    name: str, weight: np.ndarray, bias: np.ndarray, shift: np.ndarray | None, pe: int, simd: int, rows: int
) -> tuple[dict[str, int | str], dict[str, str]]:
    """Parameters and memories of a matrix whose memory words hold `pe` rows and whose parameters `rows` rows."""
    bias = bias.astype(np.int64)
    acc_bits = accumulator_bits(weight, bias)
    if acc_bits > 32:
        raise InstanceError(
            f"{name}: the accumulator needs {acc_bits} bits, beyond int32; use a smaller bias"
        )
    bias_bits = signed_bits(int(bias.min()), int(bias.max()))
    shifts, codes = _shift_parameters(name, np.zeros_like(bias) if shift is None else shift.astype(np.int64))
    parameters: dict[str, int | str] = {"ACC_BITS": acc_bits, "BIAS_BITS": bias_bits, **shifts}
    parameters |= {"WEIGHT_FILE": f"{name}_weight.hex", "PARAM_FILE": f"{name}_param.hex"}
    param_bits = bias_bits + shifts["SHIFT_BITS"]
    rows_packed = packing.fields([(bias, bias_bits), (codes, shifts["SHIFT_BITS"])])
    memories = {
        f"{name}_weight.hex": packing.hex_text(packing.matrix_words(weight, pe, simd), pe * simd * 8),
        f"{name}_param.hex": packing.hex_text(packing.join(rows_packed, rows, param_bits), rows * param_bits),
    }
    return parameters, memories


def mat_vec(
    name: str,
    weight: np.ndarray,
    bias: np.ndarray,
    shift: np.ndarray | None,
    tokens: int,
    folding: Folding,
    rounding: Rounding,
) -> Instance:
    """weight int8 [M, K], bias int32 [M], shift int32 [M] or None for int32 results."""
    m, k = weight.shape
    _divides(name, "PE", folding.pe, m, "rows")
    _divides(name, "SIMD", folding.simd, k, "columns")
    folding.check_lanes(name, "SIMD", folding.simd, k, m)
    parameters, memories = _product_parameters(name, weight, bias, shift, folding.pe, folding.simd, folding.results)
    parameters |= {"K": k, "M": m, "TOKENS": tokens, **folding.parameters()}
    parameters |= {"REQUANT": int(shift is not None), **rounding.parameters(name)}
    out_bytes = folding.out_lanes * (1 if shift is not None else 4)
    return Instance(name, "mat_vec", parameters, {"s_axis": folding.in_lanes}, {"m_axis": out_bytes}, memories)


def token_mix(
    name: str,
    weight: np.ndarray,
    bias: np.ndarray,
    shift: np.ndarray,
    channels: int,
    folding: Folding,
    rounding: Rounding,
) -> Instance:
    """weight int8 [U, T], bias and shift int32 [U]."""
    u, t = weight.shape
    _divides(name, "PE", folding.pe, channels, "channels")
    _divides(name, "SIMD", folding.simd, t, "tokens")
    folding.check_lanes(name, "PE", folding.pe, channels, channels)
    parameters, memories = _product_parameters(name, weight, bias, shift, 1, folding.simd, 1)
    parameters |= {"C": channels, "T": t, "U": u, **folding.parameters(), **rounding.parameters(name)}
    return Instance(
        name, "token_mix", parameters, {"s_axis": folding.in_lanes}, {"m_axis": folding.out_lanes}, memories
    )


def channel_lut(
    name: str, table: np.ndarray, elements: int, pe: int, lowest: int = -128, rounding: str = "HALF_EVEN"
) -> Instance:
    """table int8 [C, 256], or [C, 2**(8-b) + 1] knots, of an image of `elements` elements; lowest is the code of table[:, 0]."""
    c, width = table.shape
    try:
        bits = interpolated_bits(width)
    except ValueError as error:
        raise InstanceError(f"{name}: {error}") from None
    if lowest not in (-128, 0):
        raise InstanceError(f"{name}: a table from code {lowest} on; int8 codes begin at -128, uint8 codes at 0")
    _divides(name, "PE", pe, c, "channels")
    if pe > 100:
        raise InstanceError(f"{name}: PE={pe} is above 100 lanes")
    parameters = {"C": c, "PE": pe, "BEATS": elements // pe, "LOWEST": lowest, "B": bits}
    parameters |= {"HALF_UP": Rounding(rounding).parameters(name)["HALF_UP"], "TABLE_FILE": f"{name}_table"}
    files = {"": table if bits == 0 else table[:, :-1]} | ({} if bits == 0 else {"_last": table[:, -1:]})
    memories = {
        f"{name}_table_{lane:02d}{part}.hex": packing.hex_text(packing.words(rows[lane::pe].reshape(-1, 1), 8), 8)
        for lane in range(pe)
        for part, rows in files.items()
    }
    return Instance(name, "channel_lut", parameters, {"s_axis": pe}, {"m_axis": pe}, memories)


def channel_requant(
    name: str,
    mult: np.ndarray,
    bias: np.ndarray,
    shift: np.ndarray,
    elements: int,
    pe: int,
    rounding: Rounding,
    bits: int = 8,
) -> Instance:
    """mult, bias, shift int32 [C] of an image of `elements` elements of `bits` bits, signed; no multiplier if all mult are 1."""
    mult, bias = mult.astype(np.int64), bias.astype(np.int64)
    _divides(name, "PE", pe, len(mult), "channels")
    shifts, codes = _shift_parameters(name, shift.astype(np.int64))
    mult_bits = 0 if np.all(mult == 1) else signed_bits(int(mult.min()), int(mult.max()))
    bias_bits = signed_bits(int(bias.min()), int(bias.max()))
    reach = 1 << bits - 1
    value_bits = max(accumulator_bits(mult[:, None], bias, -reach, reach - 1), mult_bits + bits)
    param_bits = mult_bits + bias_bits + shifts["SHIFT_BITS"]
    columns = [(mult, mult_bits), (bias, bias_bits), (codes, shifts["SHIFT_BITS"])]
    packed = packing.fields([column for column in columns if column[1]])
    parameters: dict[str, int | str] = {
        "C": len(mult),
        "PE": pe,
        "BEATS": elements // pe,
        "X_BITS": bits,
        "MULT_BITS": mult_bits,
    }
    parameters |= {"BIAS_BITS": bias_bits, "VALUE_BITS": value_bits, **shifts, **rounding.parameters(name)}
    parameters |= {"PARAM_FILE": f"{name}_param.hex"}
    memories = {f"{name}_param.hex": packing.hex_text(packing.join(packed, pe, param_bits), pe * param_bits)}
    return Instance(name, "channel_requant", parameters, {"s_axis": -(-pe * bits // 8)}, {"m_axis": pe}, memories)


def residual_add(
    name: str, elements: int, pe: int, a_shift: int, b_shift: int, shift: int, rounding: Rounding
) -> Instance:
    """Of images of `elements` elements."""
    _divides(name, "PE", pe, elements, "elements")
    if not all(0 <= s <= 31 for s in (a_shift, b_shift, shift)):
        raise InstanceError(f"{name}: shifts {a_shift}, {b_shift}, {shift} are not in 0..31")
    parameters = {"PE": pe, "BEATS": elements // pe, "A_SHIFT": a_shift, "B_SHIFT": b_shift, "SHIFT": shift}
    parameters |= rounding.parameters(name)
    streams = {"s_axis_a": pe, "s_axis_b": pe}
    return Instance(name, "residual_add", parameters, streams, {"m_axis": pe})


def token_mean(name: str, tokens: int, channels: int, pe: int, shift: int, rounding: Rounding) -> Instance:
    """The sum of `tokens` tokens over 2**shift."""
    _divides(name, "PE", pe, channels, "channels")
    if not 0 <= shift <= 31:
        raise InstanceError(f"{name}: shift {shift} is not in 0..31")
    parameters = {"C": channels, "T": tokens, "PE": pe, "SHIFT": shift, **rounding.parameters(name)}
    return Instance(name, "token_mean", parameters, {"s_axis": pe}, {"m_axis": pe})


def patches(name: str, height: int, width: int, colours: int, patch: int, pe: int) -> Instance:
    """Images [height, width, colours] in patches of patch * patch pixels."""
    _divides(name, "patch", patch, height, "lines")
    _divides(name, "patch", patch, width, "pixels of a line")
    _divides(name, "PE", pe, patch * colours, "bytes of a patch's line")
    parameters = {"H": height, "W": width, "F": colours, "P": patch, "PE": pe}
    return Instance(name, "patches", parameters, {"s_axis": pe}, {"m_axis": pe})


def stream_fork(name: str, lanes: int, bits: int = 8) -> Instance:
    """One stream to two."""
    streams = {f"m_axis_{branch}": lanes * bits // 8 for branch in "ab"}
    return Instance(name, "stream_fork", {"PE": lanes, "BITS": bits}, {"s_axis": lanes * bits // 8}, streams)


def fifo(name: str, depth: int, lanes: int, bits: int = 8) -> Instance:
    """`depth` beats."""
    if depth < 1:
        raise InstanceError(f"{name}: depth={depth} must be at least 1 beat")
    beat = lanes * bits // 8
    parameters = {"PE": lanes, "BITS": bits, "DEPTH": depth}
    return Instance(name, "fifo", parameters, {"s_axis": beat}, {"m_axis": beat})


def width_converter(name: str, in_lanes: int, out_lanes: int, bits: int = 8) -> Instance:
    """in_lanes elements a beat to out_lanes."""
    if min(in_lanes, out_lanes) < 1 or max(in_lanes, out_lanes) % min(in_lanes, out_lanes):
        raise InstanceError(
            f"{name}: {in_lanes} lanes to {out_lanes}: one must divide the other; "
            f"go through {np.lcm(in_lanes, out_lanes)} lanes with two converters"
        )
    parameters = {"IN_LANES": in_lanes, "OUT_LANES": out_lanes, "BITS": bits}
    streams = {"s_axis": in_lanes * bits // 8}
    return Instance(name, "width_converter", parameters, streams, {"m_axis": out_lanes * bits // 8})


GUARD_PINS = ("ignore_tlast", "image_in", "short_image", "long_image")  # between the guard and the registers


def input_guard(name: str, beats: int, lanes: int) -> Instance:
    """Images of `beats` beats of `lanes` bytes."""
    pins = {pin: ("input" if pin == "ignore_tlast" else "output", 1) for pin in GUARD_PINS}
    parameters = {"WIDTH": 8 * lanes, "BEATS": beats}
    return Instance(name, "input_guard", parameters, {"s_axis": lanes}, {"m_axis": lanes}, pins=pins)


def register_file(name: str, links: int, build: int) -> Instance:
    """Registers of a design of `links` links whose hash begins with the 32 bits `build`."""
    pins = {f"{registers.PREFIX}_{port}": kind for port, kind in registers.PORTS.items()}
    pins |= {pin: ("output" if pin == "ignore_tlast" else "input", 1) for pin in GUARD_PINS}
    pins |= {"out_tlast": ("input", 1), "link_valid": ("input", links), "link_ready": ("input", links)}
    signed = build - (build >> 31 << 32)  # an unsized number is an int
    parameters = {"LINKS": links, "MAGIC": registers.MAGIC, "VERSION": registers.VERSION, "BUILD": signed}
    return Instance(name, "register_file", parameters, {}, {}, pins=pins)
