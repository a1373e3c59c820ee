"""The quantized network keeps the integer contract: power-of-two scales with a floor, INT8 codes, exact round trips."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from brevitas.core.scaling import ParameterFromRuntimeStatsScaling

from tests.conftest import ACTIVATIONS, Network, random_images
from train.quantized import QuantResMLP, calibrate, quantization_summary, quantize
from train.quantizers import SMALLEST_ACTIVATION_SCALE, SMALLEST_WEIGHT_SCALE, QuantAffine, plain
from train.resmlp import Architecture, ResMLP, absorb

each_network = pytest.mark.parametrize("activation", ACTIVATIONS)


def is_power_of_two(values: np.ndarray) -> bool:
    return bool((np.frexp(values)[0] == 0.5).all())


def weighted(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Layers with quantized weights, by name."""
    return {n: m for n, m in model.named_modules() if hasattr(m, "quant_weight") and getattr(m, "weight", None) is not None}


@each_network
def test_activation_scales_are_powers_of_two_and_not_below_the_floor(network: Callable[[str], Network], activation: str) -> None:
    scales = quantization_summary(network(activation).quantized)
    per_block = 7 if activation == "relu" else 9
    assert len(scales) == 2 * per_block + 3  # and the input, the embedding, the mean
    assert is_power_of_two(np.array(list(scales.values())))
    assert min(scales.values()) >= SMALLEST_ACTIVATION_SCALE


@each_network
def test_weights_are_narrow_int8_with_a_power_of_two_per_output_channel(network: Callable[[str], Network], activation: str) -> None:
    layers = weighted(network(activation).quantized)
    assert len(layers) == 2 * 5 + 2
    for name, layer in layers.items():
        weight = layer.quant_weight()
        scale = weight.scale.detach().numpy()
        codes = weight.value.detach().numpy() / scale
        assert scale.size == (1 if name == "head" else len(layer.weight)), name
        assert is_power_of_two(scale) and scale.min() >= SMALLEST_WEIGHT_SCALE, name
        assert (codes == np.rint(codes)).all() and np.abs(codes).max() <= 127, name
        assert (weight.zero_point == 0).all() and weight.bit_width == 8, name


@each_network
def test_every_tensor_between_two_operations_is_int8(network: Callable[[str], Network], images: np.ndarray, activation: str) -> None:
    model = network(activation).quantized.eval()
    seen: dict[str, tuple[float, np.ndarray]] = {}
    scales = quantization_summary(model)

    def note(name: str):
        return lambda module, inputs, output: seen.update({name: (scales[name], plain(output).detach().numpy())})

    handles = [m.register_forward_hook(note(n)) for n, m in model.named_modules() if n in scales]
    with torch.no_grad():
        model(torch.from_numpy(images))
    for handle in handles:
        handle.remove()
    assert seen.keys() == scales.keys()
    for name, (scale, values) in seen.items():
        codes = values / scale
        assert (codes == np.rint(codes)).all(), name
        assert codes.min() >= -128 and codes.max() <= 127, name


def test_a_tensor_of_zeros_and_a_dead_row_stay_at_the_floor() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = absorb(ResMLP(Architecture(activation="relu", embed=8, hidden=8, blocks=1)).eval())
    with torch.no_grad():
        model.blocks[0].fc1.weight.zero_()
        model.blocks[0].fc1.bias.zero_()
        model.blocks[0].fc2.weight[3] = 0
    quantized = quantize(model)
    calibrate(quantized, random_images(40, seed=0), seed=0, batch=8)
    assert quantization_summary(quantized)["blocks.0.act2_quant"] == SMALLEST_ACTIVATION_SCALE
    assert quantized.blocks[0].fc2.quant_weight().scale[3].item() == SMALLEST_WEIGHT_SCALE


@pytest.mark.parametrize("layer", ["fc2", "head"])
def test_a_dead_row_keeps_its_bias(layer: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = absorb(ResMLP(Architecture(activation="relu", embed=8, hidden=8, blocks=1)).eval())
    floating = model.head if layer == "head" else model.blocks[0].fc2
    with torch.no_grad():
        floating.weight[...] = 0
        # 0.5 itself may lie beyond the last of 127 positive codes.
        floating.bias.copy_(torch.linspace(-0.5, 0.49, len(floating.bias)))
    quantized = quantize(model)
    calibrate(quantized, random_images(40, seed=0), seed=0, batch=8)
    module = quantized.head if layer == "head" else quantized.blocks[0].fc2
    seen: list[torch.Tensor] = []
    module.register_forward_hook(lambda m, inputs, output: seen.append(plain(output).detach()))
    with torch.no_grad():
        quantized(torch.from_numpy(random_images(2, seed=3)))
    step = quantization_summary(quantized).get(f"blocks.0.{layer}", 2.0**-16)
    assert (seen[0].reshape(-1, len(floating.bias)) - floating.bias).abs().max() <= step / 2


@each_network
def test_calibration_fills_every_quantizer(network: Callable[[str], Network], activation: str) -> None:
    calibrated = network(activation).quantized
    quantizers = [m for m in calibrated.modules() if isinstance(m, ParameterFromRuntimeStatsScaling)]
    assert len(quantizers) == len(quantization_summary(calibrated))
    for quantizer in quantizers:
        assert quantizer.counter > quantizer.collect_stats_steps
    fresh = quantize(absorb(network(activation).floating))
    assert all(m.counter <= m.collect_stats_steps for m in fresh.modules() if isinstance(m, ParameterFromRuntimeStatsScaling))


@pytest.mark.parametrize("activation", ["relu", "lerp_psa"])
def test_the_same_seed_calibrates_to_the_same_scales(activation: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    floating = absorb(ResMLP(Architecture(activation=activation, embed=8, hidden=8, blocks=1)).eval())
    images = random_images(30, seed=0)
    summaries = []
    for torch_seed in (1, 2):
        torch.manual_seed(torch_seed)
        model = quantize(floating)
        calibrate(model, images, seed=7, batch=8)
        summaries.append(quantization_summary(model))
        assert not model.training
    assert summaries[0] == summaries[1]


@each_network
def test_a_state_dict_makes_the_same_network_again(network: Callable[[str], Network], images: np.ndarray, activation: str) -> None:
    model = network(activation).quantized.eval()
    again = QuantResMLP(model.architecture)
    again.load_state_dict(model.state_dict())
    again.eval()
    with torch.no_grad():
        assert (again(torch.from_numpy(images)) == model(torch.from_numpy(images))).all()
    assert quantization_summary(again) == quantization_summary(model)
    assert again.state_dict().keys() == model.state_dict().keys()


@each_network
def test_quantizing_takes_over_every_float_weight(network: Callable[[str], Network], activation: str) -> None:
    floating = absorb(network(activation).floating)
    quantized = quantize(floating)
    taken = quantized.state_dict()
    for name, value in floating.state_dict().items():
        assert (taken[name] == value).all(), name


def test_quantizing_another_architecture_is_refused() -> None:
    floating = absorb(ResMLP(Architecture(activation="relu", embed=8, hidden=8, blocks=2)).eval())
    floating.architecture = Architecture(activation="relu", embed=8, hidden=8, blocks=1)
    with pytest.raises(ValueError, match="without a place"):
        quantize(floating)
    floating.architecture = Architecture(activation="relu", embed=8, hidden=8, blocks=3)
    with pytest.raises(ValueError, match="lacks blocks"):
        quantize(floating)


@each_network
def test_quantized_answers_follow_the_float_ones(network: Callable[[str], Network], images: np.ndarray, activation: str) -> None:
    net = network(activation)
    with torch.no_grad():
        floating = absorb(net.floating)(torch.from_numpy(images))
        quantized = net.quantized.eval()(torch.from_numpy(images))
    correlation = np.corrcoef(floating.numpy().ravel(), quantized.numpy().ravel())[0, 1]
    assert correlation > 0.95


def test_gradients_reach_float_weights_and_scales(network: Callable[[str], Network], images: np.ndarray) -> None:
    model = QuantResMLP(network("lerp_psa").quantized.architecture)
    model.load_state_dict(network("lerp_psa").quantized.state_dict())
    model.train()
    torch.nn.functional.cross_entropy(model(torch.from_numpy(images)), torch.arange(64) % 10).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_an_affine_is_quantized_per_channel() -> None:
    affine = QuantAffine(3)
    with torch.no_grad():
        affine.weight.copy_(torch.tensor([0.3, -5.0, 100.0]))
    weight = affine.quant_weight()
    assert weight.scale.numel() == 3
    for value, scale in zip(weight.value.tolist(), weight.scale.ravel().tolist(), strict=True):
        assert math.frexp(scale)[0] == 0.5
        assert abs(value / scale) <= 127 and value / scale == round(value / scale)
