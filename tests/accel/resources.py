"""What yosys makes of every module: LUTs, flip-flops, multipliers and block RAMs, counted for ECP5 and UltraScale+.

`python -m tests.accel.resources` (make resources) counts again and writes resources.json, which the test compares with.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from accel import tools, verilog
from accel.instance import (
    RTL,
    Folding,
    Instance,
    Rounding,
    channel_lut,
    channel_requant,
    fifo,
    input_guard,
    mat_vec,
    patches,
    register_file,
    residual_add,
    stream_fork,
    token_mean,
    token_mix,
    width_converter,
)

STORED = Path(__file__).with_name("resources.json")
RNG = np.random.default_rng(0)


def _int8(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def _matrix(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """weight, bias, shift of ordinary sizes."""
    return _int8(1, rows, columns), RNG.integers(-30000, 30000, rows), RNG.integers(7, 13, rows)


# The sizes of the full network, and products of LUTs and packed ones in a small matrix.
CASES = (
    mat_vec("mat_vec", *_matrix(96, 96), 64, Folding(3, 6), Rounding()),
    mat_vec("mat_vec_12", *_matrix(12, 12), 4, Folding(2, 6), Rounding()),
    mat_vec("mat_vec_12_packed", *_matrix(12, 12), 4, Folding(2, 6, packed=1), Rounding()),
    mat_vec("mat_vec_12_fabric_7", *_matrix(12, 12), 4, Folding(2, 6, fabric=7), Rounding()),
    token_mix("token_mix", *_matrix(64, 64), 96, Folding(3, 4), Rounding()),
    channel_lut("channel_lut", _int8(2, 96, 256), 6144, 1),
    channel_lut("channel_lut_64_knots", _int8(2, 96, 65), 6144, 1),
    channel_requant("channel_requant", RNG.integers(-127, 128, 96), *_matrix(96, 1)[1:], 6144, 1, Rounding()),
    residual_add("residual_add", 6144, 1, 2, 0, 3, Rounding()),
    token_mean("token_mean", 64, 96, 1, 6, Rounding()),
    patches("patches", 32, 32, 3, 4, 1),
    stream_fork("stream_fork", 1),
    width_converter("width_converter_up", 1, 4),
    width_converter("width_converter_down", 4, 1),
    fifo("fifo_6144", 6144, 1),
    fifo("fifo_32", 32, 1),
    input_guard("input_guard", 3072, 1),
    register_file("register_file_4_links", 4, 0),
)
_SYNTHESIS = {
    "ecp5": "synth_ecp5 -top all_modules",
    "xcup": "synth_xilinx -family xcup -top all_modules -flatten -noiopad -noclkbuf",
}
# target -> figure -> cells that count, and how often
_WEIGHTS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "ecp5": {
        "lut4": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        "ff": {"TRELLIS_FF": 1},
        "dsp": {"MULT18X18D": 1},
        "bram": {"DP16KD": 1, "PDPW16KD": 1},  # of 18 kbit
    },
    "xcup": {
        "lut": {"LUT[1-6]": 1, "SRL16E": 1, "SRLC32E": 1, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM64X1D": 2},
        "ff": {"FD[RSCP]E": 1},
        "dsp": {"DSP48E2": 1},
        "bram": {"RAMB36E2": 2, "RAMB18E2": 1},  # of 18 kbit
    },
}
Counts = dict[str, dict[str, dict[str, int]]]  # case -> target -> figure -> number


def count() -> Counts:
    """Every case on every target. All of a target in one run of yosys, which is kept under the hash of its inputs."""
    files = {"all_modules.sv": _top(CASES)}
    for instance in CASES:
        files |= instance.memories | {f"{instance.name}_wrapper.sv": _wrapper(instance)}
        files |= {source: (RTL / source).read_text() for source in instance.sources}
    counts: Counts = {instance.name: {} for instance in CASES}
    for target, script in _SYNTHESIS.items():
        cells = _synthesise(files, script)
        for instance in CASES:
            found = cells[_wrapper_name(instance)]
            counts[instance.name][target] = {
                figure: sum(number * weight for kind, weight in weights.items() for cell, number in found.items() if re.fullmatch(kind, cell))
                for figure, weights in _WEIGHTS[target].items()
            }
    return counts


def _synthesise(files: Mapping[str, str], script: str) -> dict[str, dict[str, int]]:
    """{wrapper: {cell: number}}; the wrappers stay modules, what is in them is flat."""
    steps = [
        f"read_verilog -sv {' '.join(name for name in files if name.endswith('.sv'))}",
        "hierarchy -top all_modules",
        "setattr -mod -set keep_hierarchy 1 *_of_all",
        script,
        "stat -json",
    ]
    key = tools.digest(tools.version("yosys"), *steps, *(part for item in files.items() for part in item))
    kept = tools.cache_folder() / "resources" / f"{key}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for name, text in files.items():
                (folder / name).write_text(text)
            steps[-1] = "tee -q -o stat.json stat -json"
            tools.run("yosys", ["-q", "-p", "; ".join(steps)], folder)
            modules = json.loads((folder / "stat.json").read_text())["modules"]
        cells = {name.removeprefix("\\"): module["num_cells_by_type"] for name, module in modules.items()}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(cells))
    return json.loads(kept.read_text())


def _wrapper_name(instance: Instance) -> str:
    return f"{instance.name}_of_all"


def _wrapper(instance: Instance) -> str:
    return verilog.wrapper(instance, instance.name).replace(f"module {instance.name} (", f"module {_wrapper_name(instance)} (")


def _top(instances: tuple[Instance, ...]) -> str:
    kept = "".join(f"  (* keep *) {_wrapper_name(instance)} {instance.name}_node ();\n" for instance in instances)
    return f"module all_modules ();\n{kept}endmodule\n"


if __name__ == "__main__":
    STORED.write_text(json.dumps(count(), indent=1) + "\n")
