"""Every compiled kernel, with every instruction set, equals the numpy reference and the function body on every element."""

import numpy as np
import pytest
from onnx import parser

from custom_ops.channel_lut import KNOTS
from custom_ops.kernels import KERNELS, KernelError, isa
from custom_ops.lerp_psa import lerp_psa_table
from custom_ops.requant import requant
from custom_ops.rounding import ROUNDINGS
from custom_ops.runtime import kernels_of, session

from .kernel_cases import CASES, ISAS, Case, floats, large_case

SUM = sum(cases * shapes for _, cases, shapes in CASES.values())


@pytest.fixture(params=ISAS)
def instructions(request, monkeypatch):
    monkeypatch.setenv("PSAFLOW_ISA", request.param)
    return asked(request.param)


@pytest.fixture
def any_instructions():
    return asked(None)


def asked(name):
    try:
        assert name in (None, isa())
    except KernelError as error:
        pytest.skip(str(error))
    return name


def run(case, x, computed=False, **options):
    feed = {"in0": x, **({f"in{i}": array for i, array in enumerate(case.parameters, 1)} if computed else {})}
    return session(case.model(computed), threads=1, **options).run(None, feed)[0]


def allowed(case, x):
    """Where an exponential decides, two libraries may differ in float64's last bit, hence once in a while in the result's."""
    if case.op not in ("PSA", "LerpPSA"):
        return 0
    expected = case.expected(x)
    if case.op == "PSA":
        return 4 * np.spacing(np.abs(expected).max(initial=1).astype(x.dtype)) * (1 if x.dtype == np.float32 else 64)
    options = {name: case.attributes.get(name, default) for name, default in (("epsilon", 1.0), ("grid", 64), ("bound", 4.0))}
    table = lerp_psa_table(*case.parameters, **options)
    segments = 1 + np.abs(x).max(initial=0) * (options["grid"] - 1) / (2 * options["bound"])
    return 4 * segments * np.spacing(np.abs(table).max())


def assert_same(got, expected, tolerance=0):
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    if tolerance:
        assert np.abs(got - expected).max(initial=0) <= tolerance
        return
    wrong = np.flatnonzero(got.ravel() != expected.ravel())
    assert not wrong.size, f"{wrong.size} of {got.size} differ, first at {wrong[0]}"


def test_the_random_shapes_are_a_thousand():
    assert SUM == 1000


@pytest.mark.parametrize("op", CASES)
def test_random_shapes(op, instructions):
    """Shapes with empty batches and channels that fill no vector; parameters as constants and as inputs."""
    make, count, inside = CASES[op]
    for seed in range(count):
        case = make(np.random.default_rng(seed), inside)
        computed = seed % 3 == 0
        kernel = session(case.model(computed), kernels=True, threads=1)
        body = session(case.model(computed), kernels=False, threads=1)
        assert kernels_of(kernel)[f"{case.domain}.{op}"] == 1
        feed = {f"in{i}": array for i, array in enumerate(case.parameters, 1)} if computed else {}
        for x in case.xs:
            (got,), (by_body,) = kernel.run(None, {"in0": x, **feed}), body.run(None, {"in0": x, **feed})
            assert_same(got, case.expected(x), allowed(case, x))
            assert_same(got, by_body, allowed(case, x))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("width", [256, *KNOTS.values()])
def test_every_code_of_every_table(width, kind, rounding, instructions):
    rng = np.random.default_rng(width)
    for channels in (1, 3, 16, 17, 33):
        table = rng.integers(-128, 128, (channels, width)).astype(np.int8)
        table[0, ::2], table[0, 1::2] = -128, 127  # steepest
        codes = np.arange(256).astype(np.uint8).view(kind)
        x = np.stack([np.roll(codes, c) for c in range(channels)], 1)
        lowest = int(np.iinfo(kind).min)
        case = Case("ChannelLUT", (table,), [x], {"rounding": rounding, "lowest": lowest})
        assert_same(run(case, x, kernels=True), case.expected(x))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", [np.int8, np.int32])
def test_requant_on_ties_at_every_shift(kind, rounding, instructions):
    """Position s has shift s; quotients lie on ties and one beside; one position at a time, then all 32 together."""
    x = np.repeat(np.arange(-128, 128).astype(kind)[:, None], 32, 1)
    shift = np.arange(32, dtype=np.int32)
    half = np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0).astype(np.int32)
    for beside in (-1, 0, 1):
        for positions in ([slice(s, s + 1) for s in range(32)] if kind is np.int32 else []) + [slice(32), slice(20)]:
            parameters = half[positions], (half + beside).astype(np.int32)[positions], shift[positions]
            case = Case("Requant", parameters, [x[:, positions]], {"rounding": rounding})
            assert_same(run(case, x[:, positions], kernels=True), case.expected(x[:, positions]))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("axis", [-1, -2])
def test_requant_of_extreme_and_random_accumulators(rounding, axis, instructions):
    rng = np.random.default_rng(1)
    extremes = [-(2**31), -(2**31) + 1, -(2**24), -129, -128, -1, 0, 1, 127, 128, 2**24, 2**31 - 1]
    x = np.concatenate([np.repeat(np.int32(extremes), 12), rng.integers(-(2**31), 2**31, 2000), rng.integers(-(2**14), 2**14, 2000)])
    x = np.repeat(x.astype(np.int32)[:, None], 32, 1)
    x = x if axis == -1 else np.ascontiguousarray(x.T)
    shift = np.arange(32, dtype=np.int32)
    for mult, bias in ((1, 0), (-(2**31), 2**31 - 1), (2**31 - 1, -(2**31)), (3, -5), (-1, 2**31 - 1), (0, 7)):
        for lo, hi in ((-128, 127), (0, 127), (5, 5)):
            attributes = {"rounding": rounding, "axis": axis, "lo": lo, "hi": hi}
            case = Case("Requant", (np.int32(mult), np.array([bias], np.int32), shift), [x], attributes)
            assert_same(run(case, x, kernels=True), case.expected(x))


def test_requant_where_32_bits_are_barely_enough_or_not(instructions):
    """Sums around 2**30 and 2**31: the kernel goes to 64 bits for all positions as soon as one needs them."""
    x = np.concatenate([np.arange(-300, 300), [-(2**31), 2**31 - 1], np.arange(2**22 - 99, 2**22 + 99)]).astype(np.int32)
    for shift in range(20, 32):
        for bias in (2**30 - 1, 2**30, -(2**30), 2**31 - 1, -(2**31), 2**30 - 2**shift // 2):
            for mult in (1, -1, 2**22, -(2**22) - 1):
                parameters = tuple(np.array([v, w], np.int32) for v, w in ((mult, 1), (bias, 0), (shift, 4)))
                case = Case("Requant", parameters, [np.repeat(x[:, None], 2, 1)])
                assert_same(run(case, case.xs[0], kernels=True), requant(case.xs[0], *parameters))


def test_grid_lerp_of_numbers_at_the_ends_and_of_none(instructions):
    """Grid points, their neighbours, far outside; what is not a number or infinite gives no crash and no number."""
    grid = np.linspace(-4, 4, 64).astype(np.float32)
    edge = np.concatenate([grid, np.nextafter(grid, np.float32(9)), np.nextafter(grid, np.float32(-9)), np.float32([0, -0.0, 1e6, -1e6, 1e-40])])
    x = np.repeat(edge[:, None], 19, 1)
    case = Case("GridLerp", (floats(np.random.default_rng(0), 19, 64),), [x])
    assert_same(run(case, x, kernels=True), case.expected(x))
    odd = np.full((3, 19), np.float32([[np.nan], [np.inf], [-np.inf]]))
    assert not np.isfinite(run(case, odd, kernels=True)).any()


@pytest.mark.parametrize("op", CASES)
def test_threads_change_nothing(op, instructions):
    case = large_case(op)
    (x,) = case.xs
    one, two = (session(case.model(), kernels=True, threads=threads).run(None, {"in0": x})[0] for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert_same(one, case.expected(x), allowed(case, x))


@pytest.mark.parametrize(("domain", "op"), [(domain, op) for domain, op in KERNELS if op in CASES])
def test_the_kernel_runs_instead_of_the_body(domain, op, any_instructions):
    """The body of each model is wrong on purpose: only the kernel gives the op's values. It is so with every overload."""
    make, _, _ = CASES[op]
    kind = "int8" if op in ("ChannelLUT", "Requant") else "float"
    for seed in range(12):
        case = make(np.random.default_rng(seed), 3)
        model = Case(op, case.parameters, case.xs, case.attributes, domain).model()
        for function in list(model.functions):
            if function.name == op:
                names, overload = ", ".join(function.input), f', overload: "{function.overload}"' if function.overload else ""
                wrong = parser.parse_function(
                    f'<domain: "{domain}", opset_import: ["" : 18]{overload}> {op} ({names}) => (y)'
                    f" {{ n = Shape (x) same = Constant <value = {kind} {{99}}> () y = Expand (same, n) }}"
                )
                for attribute in case.attributes:
                    wrong.attribute.append(attribute)
                model.functions.remove(function)
                model.functions.append(wrong)
        if case.xs[0].dtype == np.float64:
            continue  # the wrong body gives float
        x = next((x for x in case.xs if x.size), None)
        if x is not None:
            (by_kernel,) = session(model, kernels=True, threads=1).run(None, {"in0": x})
            (by_body,) = session(model, kernels=False, threads=1).run(None, {"in0": x})
            assert (by_body == 99).all()
            assert_same(by_kernel, case.expected(x), allowed(case, x))


def test_a_computed_table_is_taken(any_instructions):
    """Full and of knots; prepared at each call, so a changed table is seen."""
    rng = np.random.default_rng(3)
    for width in (256, 17):
        table = rng.integers(-128, 128, (20, width)).astype(np.int8)
        case = Case("ChannelLUT", (table,), [rng.integers(-128, 128, (70, 20)).astype(np.int8)])
        opened = session(case.model(computed=True), kernels=True)
        for given in (table, table[::-1].copy()):
            (got,) = opened.run(None, {"in0": case.xs[0], "in1": given})
            assert_same(got, Case("ChannelLUT", (given,), []).expected(case.xs[0]))
