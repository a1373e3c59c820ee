"""Integer parameters as arrays: the imported graph against an independent integer model, and against published activations."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from custom_ops.runtime import session
from tests.material import pixels_of, published
from train.import_arrays import ArrayError, Arrays, import_arrays, input_table, read_arrays


def random_arrays(activation="psa", channels=12, hidden=20, blocks=2, side=4, patch=4, knots=64, classes=10, seed=0) -> dict[str, np.ndarray]:
    """A model of the documented form with random parameters."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {"input_scale": np.array(60.5)}

    def layer(name: str, *shape: int) -> None:
        arrays[f"{name}_w"] = rng.integers(-128, 128, shape).astype(np.int8)
        arrays[f"{name}_b"] = rng.integers(-128, 128, shape[:1]).astype(np.int8)
        arrays[f"{name}_s"] = rng.integers(0 if len(shape) == 1 else 7, 8 if len(shape) == 1 else 12, shape[:1]).astype(np.uint8)

    layer("embed_linear", channels, patch * patch * 3)
    for b in range(blocks):
        for part in ("affine_1", "affine_2", "res_affine"):
            layer(f"blocks_{b}_token_mixer_{part}", channels)
        layer(f"blocks_{b}_token_mixer_linear", side * side, side * side)
        layer(f"blocks_{b}_mlp_res_affine", channels)
        layer(f"blocks_{b}_mlp_linear_1", hidden, channels)
        layer(f"blocks_{b}_mlp_linear_2", channels, hidden)
        if activation == "psa":
            for number, count in ((1, channels), (2, hidden)):
                steps = rng.integers(-9, 10, (count, knots)).cumsum(1)
                arrays[f"blocks_{b}_mlp_psa_{number}_lerp_lut"] = np.clip(steps, -128, 127).astype(np.int8)
    layer("classifier_linear", classes, channels)
    return arrays


def integer_model(arrays: dict[str, np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """The documented arithmetic, transcribed with Python integers' shifts in int64; independent of the ops."""
    a = {k: v.astype(np.int64) for k, v in arrays.items() if v.dtype.kind in "iu"}

    def half_up(acc: np.ndarray, s: np.ndarray) -> np.ndarray:
        return np.where(s == 0, acc, ((acc >> np.maximum(s - 1, 0)) + 1) >> 1)

    def scaled(acc: np.ndarray, layer: str, column: bool = False) -> np.ndarray:
        b, s = a[f"{layer}_b"], a[f"{layer}_s"]
        return np.clip(half_up(acc, s[:, None] if column else s) + (b[:, None] if column else b), -128, 127)

    def affine(x: np.ndarray, layer: str) -> np.ndarray:
        return scaled(x * a[f"{layer}_w"], layer)

    def table(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
        bits = 8 - (knots.shape[1].bit_length() - 1)
        ends = np.concatenate([knots, knots[:, -1:]], 1)
        k, f, c = (x + 128) >> bits, (x + 128) & ((1 << bits) - 1), np.arange(x.shape[-1])
        return ends[c, k] + half_up((ends[c, k + 1] - ends[c, k]) * f, np.int64(bits))

    mean, std = np.array((0.4914, 0.4822, 0.4465)), np.array((0.2470, 0.2435, 0.2616))
    codes = np.clip(np.rint((pixels / 255 - mean) / std * float(arrays["input_scale"])), -128, 127).astype(np.int64)
    side = round(len(a["blocks_0_token_mixer_linear_w"]) ** 0.5)
    size = pixels.shape[1] // side
    x = codes.reshape(len(codes), side, size, side, size, 3).transpose(0, 1, 3, 2, 4, 5).reshape(len(codes), side * side, -1)
    x = scaled(x @ a["embed_linear_w"].T, "embed_linear")
    block = 0
    while f"blocks_{block}_mlp_linear_1_w" in a:
        mixer, mlp = f"blocks_{block}_token_mixer", f"blocks_{block}_mlp"
        y = scaled(a[f"{mixer}_linear_w"] @ affine(x, f"{mixer}_affine_1"), f"{mixer}_linear", column=True)
        x = np.clip(affine(y, f"{mixer}_affine_2") + affine(x, f"{mixer}_res_affine"), -128, 127)
        learned = f"{mlp}_psa_1_lerp_lut" in a
        y = table(x, a[f"{mlp}_psa_1_lerp_lut"]) if learned else x
        y = scaled(y @ a[f"{mlp}_linear_1_w"].T, f"{mlp}_linear_1")
        y = table(y, a[f"{mlp}_psa_2_lerp_lut"]) if learned else np.maximum(y, 0)
        y = scaled(y @ a[f"{mlp}_linear_2_w"].T, f"{mlp}_linear_2")
        x = np.clip(y + affine(x, f"{mlp}_res_affine"), -128, 127)
        block += 1
    total = x.sum(1)
    mean_code = half_up(total, np.int64((side * side).bit_length() - 1))
    return scaled(mean_code @ a["classifier_linear_w"].T, "classifier_linear")


def run(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    return session(model, kernels=False).run(None, {"pixels": pixels})[0]


@pytest.mark.parametrize(("activation", "sizes"), [
    ("relu", {}), ("psa", {}), ("psa", {"channels": 24, "hidden": 6, "blocks": 3, "knots": 16}),
    ("psa", {"knots": 256, "side": 2}), ("psa", {"knots": 2, "classes": 3}), ("relu", {"channels": 192, "hidden": 192, "side": 8, "blocks": 1}),
    ("psa", {"patch": 2, "side": 8}),
])  # fmt: skip
def test_imported_graph_equals_the_documented_arithmetic_at_any_size(activation, sizes):
    arrays = random_arrays(activation, **sizes)
    model = import_arrays(Arrays(arrays, "test"))
    size = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1]
    pixels = np.random.default_rng(1).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    got = run(model, pixels)
    assert got.dtype == np.int8
    assert (got == integer_model(arrays, pixels)).all()


def test_published_relu_model_equals_its_samples_at_every_layer_bit_for_bit():
    arrays = read_arrays(published("relu_h96"))
    model = import_arrays(arrays)
    names = ["embed_linear", *(f"blocks_{i}_mlp_sum" for i in range(4)), "logits"]
    expected = [*(arrays.arrays[f"samples_inter_{i}"] for i in range(5)), arrays.arrays["samples_output"]]
    pixels = pixels_of(arrays.arrays["samples_input"], input_table(arrays.input_scale()))
    for got, want in zip(session(model, outputs=names, kernels=False).run(None, {"pixels": pixels}), expected, strict=True):
        assert (got == want).all()


def test_published_psa_model_ranks_the_same_class_on_every_sample():
    arrays = read_arrays(published("psa_h96"))
    pixels = pixels_of(arrays.arrays["samples_input"], input_table(arrays.input_scale()))
    got = run(import_arrays(arrays), pixels)
    assert (got.argmax(1) == arrays.arrays["samples_output"].argmax(1)).all()
    assert (got == integer_model(arrays.arrays, pixels)).all()


def test_values_that_fit_int8_may_come_in_a_wider_type():
    arrays = random_arrays()
    wide = {k: v.astype(np.int32) if v.dtype == np.int8 else v for k, v in arrays.items()}
    assert import_arrays(Arrays(wide, "test")).graph == import_arrays(Arrays(arrays, "test")).graph


@pytest.mark.parametrize(("change", "says"), [
    ({"embed_linear_s": None}, ("embed_linear_s", "missing")),
    ({f"blocks_0_{p}": None for p in ("mlp_linear_1_w", "token_mixer_affine_1_w")}, ("blocks_0_", "missing")),
    ({"blocks_1_mlp_liner_1_w": np.zeros((1, 1), np.int8)}, ("blocks_1_mlp_liner_1_w", "no layer")),
    ({"blocks_3_mlp_linear_1_w": np.zeros((20, 12), np.int8)}, ("blocks_2_", "missing")),
    ({"input_scale": None}, ("input_scale", "missing")),
    ({"input_scale": np.array(-1.0)}, ("input_scale", "positive")),
    ({"blocks_1_mlp_linear_2_w": None}, ("blocks_1_mlp_linear_2_w", "missing")),
    ({"blocks_0_mlp_psa_2_lerp_lut": None}, ("blocks_0_mlp_psa_2_lerp_lut", "missing")),
    ({"blocks_0_mlp_linear_2_w": np.zeros((12, 19), np.int8)}, ("blocks_0_mlp_linear_2_w", "[12, 19]", "[12, 20]")),
    ({"classifier_linear_w": np.zeros((10, 12), np.float32)}, ("classifier_linear_w", "float32", "integers")),
    ({"embed_linear_s": np.full(12, 32, np.uint8)}, ("embed_linear_s", "32", "0..31")),
    ({"embed_linear_s": np.full(12, 30, np.uint8)}, ("embed_linear_b", "int32")),
    ({"embed_linear_b": np.full(12, 200, np.int16)}, ("embed_linear_b", "200", "-128..127")),
    ({"embed_linear_w": np.zeros((12, 47), np.int8)}, ("embed_linear_w", "47", "3 * p * p")),
    ({"blocks_0_token_mixer_linear_w": np.zeros((15, 15), np.int8)}, ("blocks_0_token_mixer_linear_w", "square")),
    ({"blocks_0_mlp_psa_1_lerp_lut": np.zeros((12, 48), np.int8)}, ("blocks_0_mlp_psa_1_lerp_lut", "48", "power of two")),
    ({"blocks_0_mlp_psa_1_lerp_lut": np.zeros((12, 512), np.int8)}, ("blocks_0_mlp_psa_1_lerp_lut", "512", "power of two")),
])  # fmt: skip
def test_a_fault_is_named_with_its_array_and_rule(change, says):
    arrays = {k: v for k, v in (random_arrays() | change).items() if v is not None}
    with pytest.raises(ArrayError) as refused:
        import_arrays(Arrays(arrays, "m.npz"))
    assert "\n" not in str(refused.value)
    for words in ("m.npz", *says):
        assert words in str(refused.value)


def test_an_npz_with_code_in_it_is_refused_unread(tmp_path):
    np.savez(tmp_path / "m.npz", input_scale=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArrayError, match="plain arrays"):
        read_arrays(tmp_path / "m.npz")
