"""The table of accuracies: what fills a cell, what stands below it, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import article
from tests.conftest import random_images
from tests.pipelines.conftest import psaflow, psaflow_json
from train import checkpoint

RESMLP = {"activation": "lerp_psa", "embed": 96, "hidden": 96, "blocks": 4, "grid": 64, "expansion": 8}
CNN = RESMLP | {"kind": "cnn", "width": 64}  # as recipes write it: with the other kind's defaults


def saved(path: Path, floating: float | None = 88.0, integer: float | None = 87.5, images: int | None = 10_000, *,
          model: dict | None = None, **changes: object) -> Path:  # fmt: skip
    """A checkpoint without weights."""
    metrics = {"float_top1": floating, "int8_top1": integer, "test_images": images}
    recipe = {"name": path.stem, "model": (RESMLP if model is None else model) | changes}
    checkpoint.save(path, {"recipe": recipe, "metrics": {k: v for k, v in metrics.items() if v is not None}})
    return path


def cell(result: dict, activation: str, hidden: int) -> dict:
    (row,) = [r for r in result["rows"] if (r["activation"], r["hidden"]) == (activation, hidden)]
    return row


def refused(*arguments: object, says: tuple[str, ...]) -> None:
    """One line on stderr that holds every word of `says`; status 1."""
    result = psaflow("table", *arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    last = result.stderr.strip().splitlines()[-1]
    for words in says:
        assert words in last, last


def test_the_article_has_twelve_float_and_three_int8_figures_in_cells_of_the_table():
    cells = {(activation, hidden) for activation in article.ACTIVATIONS for hidden in article.HIDDEN}
    assert len(article.FLOAT) == 12 and set(article.FLOAT) < cells
    assert article.INT8 == {("relu", 192): 87.9, ("relu", 96): 86.1, ("lerp_psa", 96): 88.1}


def test_a_checkpoint_fills_its_cell_with_differences_to_the_article_and_by_quantization(tmp_path):
    path = saved(tmp_path / "a.pt", 88.5, 88.25)
    row = cell(psaflow_json("table", path), "lerp_psa", 96)
    assert (row["article_float"], row["float_top1"], row["difference"]) == (88.3, 88.5, 0.2)
    assert (row["article_int8"], row["int8_top1"], row["quantization_loss"]) == (88.1, 88.25, 0.25)
    assert (row["file"], row["test_images"], row["partial"]) == (str(path), 10_000, False)


def test_cells_without_checkpoint_stay_open_and_keep_what_the_article_says(tmp_path):
    path = saved(tmp_path / "a.pt")
    result = psaflow_json("table", path)
    assert len(result["rows"]) == 16
    for row in result["rows"]:
        if row["file"] is None:
            ours = ("float_top1", "difference", "int8_top1", "quantization_loss", "test_images")
            assert [row[key] for key in ours] == [None] * len(ours)
            assert row["article_float"] == article.FLOAT.get((row["activation"], row["hidden"]))
    lines = psaflow("table", path).stdout.splitlines()
    (line,) = [line for line in lines if line.split()[:2] == ["B-spline", "24"]]
    assert line.split()[2:] == ["84.1", "-", "-", "-", "-", "-", "-"]
    assert "1 of 16 cells" in psaflow("table", path).stdout


def test_psa_has_a_row_though_the_article_has_no_figure_for_it(tmp_path):
    row = cell(psaflow_json("table", saved(tmp_path / "a.pt", activation="psa", hidden=24)), "psa", 24)
    assert (row["float_top1"], row["article_float"], row["difference"]) == (88.0, None, None)


@pytest.mark.parametrize("first", ["better", "worse"])
def test_of_two_checkpoints_in_a_cell_the_better_int8_is_shown_and_the_other_named_below(tmp_path, first):
    better, worse = saved(tmp_path / "better.pt", 85.0, 84.9), saved(tmp_path / "worse.pt", 88.0, 84.8)
    paths = (better, worse) if first == "better" else (worse, better)
    result = psaflow_json("table", *paths)
    assert cell(result, "lerp_psa", 96)["file"] == str(better)
    assert [(e["file"], e["shown"]) for e in result["not_shown"]] == [(str(worse), str(better))]
    assert f"not shown, its cell holds {better}: worse" in psaflow("table", *paths).stdout


def test_a_figure_of_a_few_images_does_not_displace_one_of_all(tmp_path):
    whole, few = saved(tmp_path / "whole.pt", 80.0, 79.0), saved(tmp_path / "few.pt", 95.0, 95.0, 100)
    assert cell(psaflow_json("table", few, whole), "lerp_psa", 96)["file"] == str(whole)


@pytest.mark.parametrize("images", [9_999, None])
def test_accuracies_of_fewer_images_than_cifar10_has_are_marked(tmp_path, images):
    path = saved(tmp_path / "few.pt", 88.0, 87.5, images)
    assert cell(psaflow_json("table", path), "lerp_psa", 96)["partial"]
    text = psaflow("table", path).stdout
    assert "88.00*" in text and "87.50*" in text
    assert f"* measured on fewer than 10,000 test images, or nobody knows on how many: {path} ({images or 'unknown'})" in text


def test_accuracies_of_all_images_are_not_marked(tmp_path):
    assert "*" not in psaflow("table", saved(tmp_path / "a.pt")).stdout


@pytest.mark.parametrize("changes", [{"embed": 64}, {"blocks": 3}, {"hidden": 384}, {"activation": "gelu"}, {"hidden": [96]}])
def test_a_student_of_another_shape_is_listed_below_the_table(tmp_path, changes):
    result = psaflow_json("table", saved(tmp_path / "a.pt", **changes))
    assert all(row["file"] is None for row in result["rows"])
    assert [e["file"] for e in result["others"]] == [str(tmp_path / "a.pt")]


@pytest.mark.parametrize("model", [CNN, {"kind": "cnn", "width": 64}, RESMLP | {"activation": "relu", "hidden": 384}])
def test_a_teacher_is_listed_below_the_table_and_in_no_cell(tmp_path, model):
    path = saved(tmp_path / "teacher.pt", 91.25, None, model=model)
    result = psaflow_json("table", path)
    assert all(row["file"] is None for row in result["rows"])
    assert [(e["file"], e["float_top1"]) for e in result["teachers"]] == [(str(path), 91.25)]
    (line,) = [line for line in psaflow("table", path).stdout.splitlines() if line.startswith("teacher: ")]
    assert ("cnn, width 64" if "kind" in model else "hidden 384") in line and "float 91.25 %" in line


@pytest.mark.parametrize("part", ["recipe", "metrics", "model", "all"])
def test_a_checkpoint_with_a_part_missing_is_listed_without_guesses(tmp_path, part):
    content = {"recipe": {"name": "a", "model": RESMLP}, "metrics": {"float_top1": 88.0, "int8_top1": 87.0, "test_images": 10_000}}
    if part == "model":
        del content["recipe"]["model"]
    content = {} if part == "all" else {k: v for k, v in content.items() if k != part}
    checkpoint.save(tmp_path / "a.pt", content)
    result = psaflow_json("table", tmp_path / "a.pt")
    row = cell(result, "lerp_psa", 96)
    if part == "metrics":
        assert (row["file"], row["float_top1"], row["int8_top1"], row["partial"]) == (str(tmp_path / "a.pt"), None, None, False)
    else:
        assert row["file"] is None
        assert len(result["teachers"]) + len(result["others"]) == 1


def test_another_grid_than_the_articles_is_told_beside_the_file(tmp_path):
    assert f"{tmp_path / 'a.pt'} (grid 16)" in psaflow("table", saved(tmp_path / "a.pt", grid=16)).stdout


def test_a_folder_is_searched_deeply_unfinished_runs_skipped_and_foreign_files_passed_over_with_a_warning_each(tmp_path):
    inner = saved(tmp_path / "runs" / "one" / "one.pt")
    saved(tmp_path / "runs" / "one" / "last_quantized.pt", 99.0, 99.0)
    torch.save({"weights": torch.zeros(3)}, tmp_path / "runs" / "foreign.pt")
    (tmp_path / "runs" / "noise.pt").write_bytes(b"noise")
    (tmp_path / "runs" / "folder.pt").mkdir()
    result = psaflow("table", tmp_path / "runs", "--json")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert cell(printed, "lerp_psa", 96)["file"] == str(inner)
    assert printed["not_shown"] == []
    assert printed["passed_over"] == [str(tmp_path / "runs" / name) for name in ("foreign.pt", "noise.pt")]
    warnings = [line for line in result.stderr.splitlines() if line.startswith("passed over: ")]
    assert len(warnings) == 2 and "foreign.pt" in warnings[0] and "noise.pt" in warnings[1]


def test_a_file_reached_twice_counts_once(tmp_path):
    path = saved(tmp_path / "a.pt")
    assert psaflow_json("table", path, tmp_path, path)["not_shown"] == []


def test_without_a_path_the_folders_of_checkpoints_and_runs_are_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(says=("checkpoints or runs: no checkpoint found", "psaflow train"))
    saved(tmp_path / "runs" / "x" / "x.pt", hidden=48)
    saved(tmp_path / "elsewhere" / "y.pt", hidden=24)
    assert cell(psaflow_json("table"), "lerp_psa", 48)["file"] == "runs/x/x.pt"
    saved(tmp_path / "checkpoints" / "z.pt", hidden=48)
    result = psaflow_json("table")
    assert cell(result, "lerp_psa", 48)["file"] == "checkpoints/z.pt"  # of equals the first
    assert cell(result, "lerp_psa", 24)["file"] is None


def test_a_named_file_that_is_no_checkpoint_is_refused(tmp_path):
    good = saved(tmp_path / "good.pt")
    (tmp_path / "noise.pt").write_bytes(b"noise")
    refused(good, tmp_path / "noise.pt", says=("noise.pt", "not a readable checkpoint"))
    refused(tmp_path, tmp_path / "noise.pt", says=("noise.pt", "not a readable checkpoint"))
    refused(good, tmp_path / "no.pt", says=("no.pt: no such file or folder",))
    refused(saved(tmp_path / "last_float.pt"), says=("last_float.pt", "unfinished", "--resume"))


@pytest.mark.parametrize("value", [float("nan"), 101.0, -1.0])
def test_an_accuracy_that_is_no_percentage_is_refused(tmp_path, value):
    refused(saved(tmp_path / "a.pt", value), says=("a.pt: its float_top1", "not a percentage"))


def test_folders_without_a_checkpoint_are_refused(tmp_path):
    (tmp_path / "noise.pt").write_bytes(b"noise")
    refused(tmp_path, says=(f"{tmp_path}: no checkpoint found (1 other .pt file", "psaflow train"))


def test_markdown_holds_the_table_its_marks_and_the_notes(tmp_path):
    path, out = saved(tmp_path / "a|b.pt", 88.5, 88.25, 48), tmp_path / "new" / "table.md"
    for _ in range(2):  # a table of ours is replaced
        psaflow_json("table", path, saved(tmp_path / "t.pt", 91.0, None, model=CNN), "--markdown", out)
    lines = out.read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 18
    assert all(line.replace("\\|", "").count("|") == 10 for line in table)
    shown = str(path).replace("|", "\\|")
    assert f"| LERP-PSA | 96 | 88.3 | 88.50\\* | +0.20\\* | 88.1 | 88.25\\* | 0.25\\* | {shown} |" in table
    assert "| ReLU | 48 | 83.3 | - | - | - | - | - | - |" in table
    assert any(line.startswith("- teacher: t (cnn, width 64), float 91.00 %") for line in lines)
    assert any("10.1145/3705926" in line for line in lines)
    assert [p.name for p in out.parent.iterdir()] == ["table.md"]


def test_markdown_that_is_not_ours_is_left_as_it_is(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Ours\n")
    refused(saved(tmp_path / "a.pt"), "--markdown", readme, says=("--markdown", "README.md", "name another file"))
    assert readme.read_text() == "# Ours\n"


@pytest.mark.parametrize("option", ["--markdown", "--plot"])
def test_targets_that_cannot_be_written_are_refused_before_anything_is_done(tmp_path, option):
    path = saved(tmp_path / "a.pt")
    (tmp_path / "folder.png").mkdir()
    refused(path, option, tmp_path / "folder.png", says=(option, "is a folder"))
    refused(path, option, path / "t.png", says=(option, "cannot be written", "no folder"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "folder.png"]


def test_the_plot_is_a_png_wider_with_a_group_more(tmp_path):
    sizes = []
    for name, changes in (("a", {}), ("b", {"activation": "psa"})):
        saved(tmp_path / f"{name}.pt", images=100, **changes)
        psaflow_json("table", tmp_path, "--plot", tmp_path / "bars.png")
        content = (tmp_path / "bars.png").read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        sizes.append(int.from_bytes(content[16:20], "big"))
    assert sizes[1] > sizes[0]


def test_a_plot_of_another_kind_is_refused(tmp_path):
    refused(saved(tmp_path / "a.pt"), "--plot", tmp_path / "bars.svg", says=("bars.svg", ".png"))


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> tuple[Path, Path, dict]:
    """(checkpoint of an untrained ReLU network with hidden 24, .npz with 40 test images, what it says of itself)."""
    from train.loop import accuracy
    from train.quantized import calibrate, quantize
    from train.resmlp import Architecture, ResMLP, absorb

    folder = tmp_path_factory.mktemp("network")
    pixels, labels = random_images(40, seed=3), np.random.default_rng(3).integers(0, 10, 40)
    np.savez(folder / "d.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    torch.manual_seed(0)
    model = ResMLP(Architecture(activation="relu", embed=96, hidden=24, blocks=4)).eval()
    quantized = quantize(absorb(model))
    calibrate(quantized, pixels, seed=0, batch=20)
    metrics = {"float_top1": accuracy(model, pixels, labels), "int8_top1": accuracy(quantized, pixels, labels), "test_images": 40}
    content = {"recipe": {"name": "relu_h24", "model": RESMLP | {"activation": "relu", "hidden": 24}}, "metrics": metrics,
               "float": model.state_dict(), "quantized": quantized.state_dict()}  # fmt: skip
    checkpoint.save(folder / "relu_h24.pt", content)
    return folder / "relu_h24.pt", folder / "d.npz", content


def test_evaluate_measures_what_the_checkpoint_says(network):
    path, data, content = network
    result = psaflow_json("table", path, "--evaluate", "--data", data)
    row = cell(result, "relu", 24)
    assert {key: row[key] for key in content["metrics"]} == content["metrics"]
    assert result["differences"] == []


def test_evaluate_fills_in_what_a_checkpoint_does_not_say(network, tmp_path):
    _, data, content = network
    checkpoint.save(tmp_path / "silent.pt", {k: v for k, v in content.items() if k != "metrics"})
    row = cell(psaflow_json("table", tmp_path / "silent.pt", "--evaluate", "--data", data), "relu", 24)
    assert {key: row[key] for key in content["metrics"]} == content["metrics"]


def test_evaluate_measures_a_teacher_without_quantizers(network, tmp_path):
    _, data, content = network
    checkpoint.save(tmp_path / "t.pt", {"recipe": content["recipe"], "float": content["float"]})
    row = cell(psaflow_json("table", tmp_path / "t.pt", "--evaluate", "--data", data), "relu", 24)
    assert (row["float_top1"], row["int8_top1"]) == (content["metrics"]["float_top1"], None)


@pytest.mark.parametrize(("key", "label"), [("float_top1", "float"), ("int8_top1", "INT8")])
def test_evaluate_reports_a_stored_accuracy_that_is_not_the_measured_one_and_writes_no_table(network, tmp_path, key, label):
    _, data, content = network
    path = tmp_path / "boast.pt"
    checkpoint.save(path, content | {"metrics": content["metrics"] | {key: 97.5}})
    result = psaflow("table", path, "--evaluate", "--data", data, "--json", "--markdown", tmp_path / "t.md")
    assert result.exit_code == 1
    message = f"{path}: {label} top-1 is {content['metrics'][key]:.2f} %, the checkpoint says 97.50 %"
    assert result.stderr.strip().splitlines()[-1] == f"psaflow: {message}"
    printed = json.loads(result.stdout)
    assert printed["differences"] == [message]
    assert cell(printed, "relu", 24)[key] == content["metrics"][key]
    assert not (tmp_path / "t.md").exists()


def test_evaluate_compares_no_accuracies_of_different_numbers_of_images(network, tmp_path):
    _, data, content = network
    checkpoint.save(tmp_path / "a.pt", content | {"metrics": {"float_top1": 97.5, "int8_top1": 97.5, "test_images": 10_000}})
    result = psaflow("table", tmp_path / "a.pt", "--evaluate", "--data", data)
    assert result.exit_code == 0
    assert "stored top-1 is of 10000 test images, measured on 40; not compared" in result.stderr


def test_evaluate_passes_over_weights_in_a_folder_that_do_not_fit_and_refuses_named_ones(network, tmp_path):
    path, data, content = network
    (tmp_path / "good.pt").write_bytes(path.read_bytes())
    broken = tmp_path / "broken.pt"
    recipe = {"name": "broken", "model": content["recipe"]["model"] | {"hidden": 48}}
    checkpoint.save(broken, content | {"recipe": recipe})
    assert psaflow_json("table", tmp_path, "--evaluate", "--data", data)["passed_over"] == [str(broken)]
    refused(broken, "--evaluate", "--data", data, says=("broken.pt", "do not fit its recipe"))


def test_the_shipped_checkpoint_fills_a_cell():
    folder = Path(__file__).resolve().parents[2] / "checkpoints"
    row = cell(psaflow_json("table", folder), "lerp_psa", 96)
    assert row["file"].endswith("lerp_psa_h96.pt") and not row["partial"]
    assert row["int8_top1"] >= 79.0
