"""psaflow bench tables in a tiny setting: complete rows that agree with each other."""

from tests.pipelines.conftest import psaflow, psaflow_json


def test_a_row_for_each_spacing_and_method(integer, data, tmp_path):
    result = psaflow_json("bench", "tables", "--model", integer, "--every", 16, "--every", 4, "--images", 32, "--steps", 2, "--data", data,
                          "--plot", tmp_path / "t.png")  # fmt: skip
    rows = result["rows"]
    methods = ("subsample", "fit", "refine")
    assert [(r["segments"], r["method"]) for r in rows] == [(256, ""), (256, "finer codes"), *[(64, m) for m in methods], *[(16, m) for m in methods]]
    assert (rows[0]["worst"], rows[0]["lost"], rows[0]["changed"], rows[0]["bits"]) == (0, 0.0, 0, 4 * 8 * 256 * 8)
    assert (rows[1]["worst"], rows[1]["bits"]) == (0, rows[0]["bits"])
    assert all(r["bits"] == 4 * 8 * (r["segments"] + 1) * 8 for r in rows[2:])
    assert all(abs(rows[0]["top1"] - r["top1"] - r["lost"]) < 1e-3 for r in rows)
    by_name = {(r["segments"], r["method"]): r for r in rows}
    for segments in (64, 16):
        assert by_name[segments, "fit"]["used_mean"] <= by_name[segments, "subsample"]["used_mean"]
    assert (result["test_images"], result["images"]) == (48, 32)
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_without_tables_is_refused_in_one_line(without_tables, data):
    result = psaflow("bench", "tables", "--model", without_tables, "--data", data)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1) and "has no tables to compress" in result.stderr
