"""psaflow bench kernels in a tiny setting: complete rows, memory that is really measured, one line for bad input."""

import pytest
import torch

from pipelines.bench_kernels import ACTIVATIONS, ALONE, _peak_on_cpu, candidates, measure
from tests.pipelines.conftest import psaflow, psaflow_json

TINY = ("bench", "kernels", "--rows", 8, "--width", 4, "--steps", 2, "--threads", 1)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny steps on several threads mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_has_every_row_once_and_all_its_numbers(tmp_path) -> None:
    threads = torch.get_num_threads()
    result = psaflow_json(*TINY, "--plot", tmp_path / "bars.png")
    assert torch.get_num_threads() == threads
    expected = [(name, save_memory) for name in ACTIVATIONS for save_memory in (False, True)] + [(name, False) for name in ALONE]
    assert [(row["name"], row["save_memory"]) for row in result["rows"]] == expected
    assert all(row["median_ms"] > 0 and row["peak_mib"] > 0 and row["skipped"] is None for row in result["rows"])
    assert set(result["times_as_fast"]) == {"lerp", "bspline", "lerp_psa"}
    assert (result["batch_rows"], result["width"], result["steps"], result["threads"], result["device"]) == (8, 4, 2, 1, "cpu")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_people_get_a_table() -> None:
    lines = psaflow(*TINY).stdout.splitlines()
    assert lines[0].split() == ["name", "save_memory", "median", "ms", "peak", "MiB"]
    assert [line.split()[0] for line in lines[1:19]] == [n for n in ACTIVATIONS for _ in range(2)] + list(ALONE)
    assert lines[-1] == "4 x (activation + Linear 4), 8 rows, grid 64, expansion 8, cpu, 1 threads"


def test_the_peak_is_what_was_allocated_at_one_time() -> None:
    def step() -> None:
        first = torch.empty(1000)
        second = torch.empty(500)
        del first
        third = torch.empty(200)
        del second, third

    assert _peak_on_cpu(step) == 4 * 1500


def test_save_memory_and_our_kernel_need_less() -> None:
    rows = {(row["name"], row["save_memory"]): row["peak_mib"] for row in measure(candidates(1024, 32, "cpu"), 1, "cpu")}
    for name in ("bspline", "bspline_plain", "psa", "lerp_psa", "lerp_psa_plain"):
        assert rows[name, True] < rows[name, False], name
    assert rows["relu", True] == rows["relu", False]  # keeps one tensor per row of modules either way: x, or y
    assert rows["lerp", False] < rows["lerp_plain", False] / 2
    assert rows["bspline", True] < rows["bspline_plain", False] / 2


def test_what_does_not_fit_is_skipped_with_its_reason(monkeypatch) -> None:
    monkeypatch.setattr("pipelines.bench_kernels.LIMIT", 8 * 4 * 8 * 4 * 8)
    found = {(c.name, c.save_memory): c for c in candidates(8, 4, "cpu")}
    assert found["psa", False].skipped is not None and "fewer --rows" in found["psa", False].skipped
    assert found["psa", True].skipped is None and found["lerp_psa", False].skipped is None
    assert psaflow(*TINY).stdout.count("skipped") == 1


@pytest.mark.parametrize(("options", "says"), [
    (("--device", "tpu"), "psaflow: --device tpu: unknown; choose auto, cpu or cuda"),
    (("--rows", 0), "psaflow: --rows 0: must be at least 1"),
    (("--width", -3), "psaflow: --width -3: must be at least 1"),
    (("--steps", 0), "psaflow: --steps 0: must be at least 1"),
    (("--threads", 0), "psaflow: --threads 0: must be at least 1"),
    (("--plot", "bars.pdf"), "psaflow: --plot bars.pdf: is drawn as PNG; name a file that ends in .png"),
])  # fmt: skip
def test_bad_input_is_one_line(options: tuple[object, ...], says: str) -> None:
    result = psaflow("bench", "kernels", *options)
    assert (result.exit_code, result.stderr.strip(), result.stdout) == (1, says, "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_missing_gpu_is_one_line() -> None:
    result = psaflow("bench", "kernels", "--device", "cuda", "--json")
    assert (result.exit_code, result.stderr.strip()) == (1, "psaflow: --device cuda: PyTorch finds no CUDA device here; use --device cpu")


def test_the_group_lists_its_subcommands_and_refuses_others() -> None:
    assert "kernels" in psaflow("bench", "--help").stdout
    assert psaflow("bench", "nothing").exit_code == 2
