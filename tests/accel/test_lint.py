"""Every module is free of warnings in Verilator, parses in Icarus, and refuses parameters that do not fit."""

import subprocess

import pytest

from accel import tools
from accel.instance import MODULES, RTL


@pytest.mark.tools
@pytest.mark.skipif(not tools.available("verilator"), reason="verilator is not installed")
@pytest.mark.parametrize("module", sorted(MODULES))
def test_verilator_has_no_warning(module):
    command = ["verilator", "--lint-only", "-Wall", "-y", ".", f"{module}.sv"]
    done = subprocess.run(command, cwd=RTL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.tools
@pytest.mark.skipif(not tools.available("verilator"), reason="verilator is not installed")
@pytest.mark.parametrize(
    "module, parameters, rule",
    [
        ("mat_vec", ["-GK=96", "-GSIMD=7"], "mat_vec_SIMD_must_divide_K"),
        ("token_mix", ["-GC=96", "-GPE=5"], "token_mix_PE_must_divide_C"),
        ("channel_lut", ["-GC=96", "-GPE=5"], "channel_lut_PE_must_divide_C"),
        ("table_lane", ["-GB=8"], "table_lane_B_must_be_0_to_7"),
        ("interpolate", ["-GB=8"], "interpolate_B_must_be_1_to_7"),
        ("channel_requant", ["-GC=96", "-GPE=5"], "channel_requant_PE_must_divide_C"),
        ("token_mean", ["-GC=96", "-GPE=5"], "token_mean_PE_must_divide_C"),
        ("patches", ["-GPE=8"], "patches_PE_must_divide_P_times_F"),
        ("input_guard", ["-GBEATS=0"], "input_guard_BEATS_must_be_at_least_1"),
        ("register_file", ["-GLINKS=1"], "register_file_LINKS_must_be_2_to_384"),
        ("fifo", ["-GDEPTH=0"], "fifo_DEPTH_must_be_at_least_1"),
        (
            "width_converter",
            ["-GIN_LANES=4", "-GOUT_LANES=6"],
            "width_converter_one_of_IN_LANES_and_OUT_LANES_must_divide",
        ),
        ("requant", ["-GLO=5", "-GHI=4"], "requant_limits_must_be_ordered"),
        ("matrix_core", ["-GACC_BITS=33"], "matrix_core_ACC_BITS_must_be"),
        ("matrix_core", ["-GPE=4", "-GOUT_LANES=3"], "matrix_core_one_of_PE_and_OUT_LANES_must_divide"),
        ("mat_vec", ["-GSIMD=6", "-GIN_LANES=4"], "mat_vec_IN_LANES_must_divide_K"),
        ("mat_vec", ["-GOUT_LANES=36"], "mat_vec_OUT_LANES_must_divide_M"),
        ("token_mix", ["-GPE=3", "-GIN_LANES=2"], "token_mix_IN_LANES_must_divide_C"),
        ("token_mix", ["-GOUT_LANES=36"], "token_mix_OUT_LANES_must_divide_C"),
        ("rom_stream", ["-GDEPTH=9", "-GGROUP=6"], "rom_stream_GROUP_must_divide_DEPTH"),
    ],
)
def test_parameters_that_do_not_fit_stop_the_elaboration(module, parameters, rule):
    command = ["verilator", "--lint-only", "-y", ".", *parameters, f"{module}.sv"]
    done = subprocess.run(command, cwd=RTL, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and f"Cannot find file containing module: '{rule}" in done.stderr


def test_every_file_of_the_folder_is_a_known_module():
    assert {path.stem for path in RTL.glob("*.sv")} == MODULES
