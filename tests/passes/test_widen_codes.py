"""Codes spread over their table: denser knots, the same function."""

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from custom_ops.runtime import session
from passes.compress_lut import CompressLUT
from passes.widen_codes import WidenCodes
from tests.passes.graphs import apply, assert_untouched, parse, run
from tests.passes.tables import curves

CODES = np.arange(-128, 128)
GRAPH = """
    g (int8[N,4] x) => (int8[N,4] y) <int8[4,4] w = {16,0,0,0, 0,16,0,0, 0,0,16,0, 0,0,0,16}, int32 one = {1},
                                      int32[4] bias = {BIAS}, int32[4] shift = {SHIFT}, int8[4,256] t = {TABLE}>
    { a = MatMulInteger (x, w)
      [narrow] v = psaflow.Requant <ATTRIBUTES> (a, one, bias, shift)
      [act] y = psaflow.ChannelLUT (v, t) }"""
BIAS, SHIFT = (0, 0, 160, 0), (4, 5, 6, 7)  # v: as x, its half, its quarter and 2.5, its eighth


def model(table: np.ndarray | None = None, attributes: str = "lo = -128", shift: tuple[int, ...] = SHIFT, outputs: str = "y") -> ModelProto:
    values = {"BIAS": BIAS, "SHIFT": shift, "TABLE": (curves() if table is None else table).ravel()}
    text = GRAPH.replace("int8[N,4] y", ", ".join(f"int8[N,4] {o}" for o in outputs)).replace("ATTRIBUTES", attributes)
    for name, value in values.items():
        text = text.replace(name, ", ".join(map(str, value)))
    return parse(text)


def inputs(low: int = -100, high: int = 100) -> np.ndarray:
    return np.arange(low, high + 1).astype(np.int8)[:, None].repeat(4, 1)


def counts(of: ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    codes = session(of, kernels=False, outputs=["v"]).run(None, {"x": x})[0]
    return {"y": np.stack([np.bincount(codes[:, c].astype(int) + 128, minlength=256) for c in range(4)])}


def constants(of: ModelProto) -> dict[str, np.ndarray]:
    held = {i.name: numpy_helper.to_array(i) for i in of.graph.initializer}
    requant, lut = (next(n for n in of.graph.node if n.op_type == op) for op in ("Requant", "ChannelLUT"))
    return {"bias": held[requant.input[2]], "shift": held[requant.input[3]], "table": held[lut.input[1]]}


def test_codes_are_centred_and_spread_and_the_table_follows() -> None:
    """The channels take 201, 101, 51 and 25 codes, the third those about 3: once, twice, four and eight times as fine."""
    before = model()
    old, after = constants(before), constants(apply(before, WidenCodes(counts(before, inputs()))))
    spread, centre = (1, 2, 4, 8), (0, 0, 3, 0)
    assert after["shift"].tolist() == [4, 4, 4, 4]
    assert after["bias"].tolist() == [b - (o << s) for b, o, s in zip(BIAS, centre, SHIFT)]
    for channel, (fine, middle) in enumerate(zip(spread, centre)):
        kept = [x for x in CODES if -128 <= fine * (x - middle) < 128]
        assert all(after["table"][channel, fine * (x - middle) + 128] == old["table"][channel, x + 128] for x in kept)


def test_where_no_code_was_rounded_the_answers_are_the_same() -> None:
    before, x = model(), inputs()
    after = apply(before, WidenCodes(counts(before, x)))
    exact = (16 * x.astype(int) + BIAS) % (1 << np.array(SHIFT)) == 0
    old, new = (run(m, x=x)[0].astype(int) for m in (before, after))
    assert exact.sum(0).tolist() == [201, 101, 50, 25] and (old[exact] == new[exact]).all()


def test_where_one_was_the_answer_is_rounded_once_and_no_longer_twice() -> None:
    steep, x = model(table=np.repeat(np.clip(2 * CODES, -128, 127)[None], 4, 0)), inputs(-60, 60)
    value = 2 * (16 * x.astype(int) + BIAS) / (1 << np.array(SHIFT))
    old, new = (run(m, x=x)[0] for m in (steep, apply(steep, WidenCodes(counts(steep, x)))))
    assert np.abs(old - value)[:, 1:].max() == 1 and np.abs(new - value)[:, 1:].max() == 0.5


def test_knots_of_finer_codes_lose_less() -> None:
    before, x = model(), inputs()
    wide = apply(before, WidenCodes(counts(before, x)))
    errors = []
    for form in (before, wide):
        small = apply(form, CompressLUT(16, counts=counts(form, x)))
        errors.append(np.abs(run(small, x=x)[0].astype(int) - run(form, x=x)[0]).sum(0))
    assert (errors[1][2:] < 0.6 * errors[0][2:]).all()


@pytest.mark.parametrize(("of", "why"), [
    (model(attributes="lo = 0"), "a ReLU clips at a code of its own"),
    (model(attributes="hi = 126"), "the same at the other end"),
    (model(shift=(0, 0, 0, 0)), "nothing is left to shift"),
])  # fmt: skip
def test_left_alone(of: ModelProto, why: str) -> None:
    assert_untouched(of, WidenCodes(counts(of, inputs(-3, 3)))), why


def test_without_counts_and_with_a_second_reader_nothing_changes() -> None:
    assert_untouched(model(), WidenCodes({}))
    assert_untouched(model(outputs="yv"), WidenCodes(counts(model(), inputs())))


def test_a_channel_that_was_never_seen_keeps_its_codes() -> None:
    before = model()
    seen = counts(before, inputs())
    seen["y"][3] = 0
    assert constants(apply(before, WidenCodes(seen)))["shift"].tolist() == [4, 4, 4, 7]
