"""The registers of an emitted top, read and written in simulation: the map, the counters, images that are cut short or go on."""

from pathlib import Path

import numpy as np
import pytest

from accel import registers, tools
from accel.emit import Design, emit
from accel.registers import CONTROL_CLEAR, CONTROL_HOLD, CONTROL_IGNORE_TLAST, ERROR_LONG, ERROR_SHORT, offset
from accel.simulate import sources
from accel.synth.netlist import read_design
from accel.verilate import Access, Run, SimulationError, Simulator, Stream, Tap, build

from .test_emit import IMAGES, network

DOCS = Path(__file__).parents[2] / "docs" / "registers.md"
OKAY, SLVERR = 0, 2
BEATS = IMAGES[0].size
FEED = IMAGES.reshape(-1, 1)
needs_tools = [
    pytest.mark.tools,
    pytest.mark.skipif(not tools.available("verilator", "g++"), reason="verilator or g++ is not installed"),
]


class Top:
    """The small network with registers, simulated."""

    def __init__(self, folder: Path) -> None:
        self.network = network()
        self.design: Design = emit(self.network.model("classifier_y"), folder / "rtl")
        assert self.design.registers is not None
        self.links = self.design.registers.links
        self.simulator: Simulator = build(
            sources(read_design(folder / "rtl"), folder / "rtl"),
            self.design.top,
            folder / "sim",
            [Stream("s_axis", 1, packet=BEATS)],
            [Stream("m_axis", 4)],
            [Tap(link, self.bytes(link)) for link in self.links[1:-1]],
        )

    def bytes(self, signal: str) -> int:
        return next(link.lanes * link.bits // 8 for link in self.design.links if link.signal == signal)

    def run(self, feed: np.ndarray = FEED, images: int = len(IMAGES), **options) -> Run:
        return self.simulator.run({"s_axis": feed}, {"m_axis": 10 * images}, **options)

    def logits(self, *images: int) -> np.ndarray:
        return self.network.values["logits"][list(images)]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Top:
    return Top(tmp_path_factory.mktemp("registers"))


def logits(run: Run) -> np.ndarray:
    return run.outputs["m_axis"].data.view("<i4").reshape(-1, 10)


def reads(*names: str) -> list[Access]:
    return [Access(offset(name)) for name in names]


def data(run: Run) -> list[int]:
    return [answer.data for answer in run.answers]


def test_the_document_is_that_of_the_map():
    assert DOCS.read_text() == registers.markdown()


def test_no_two_registers_share_an_address_and_all_lie_below_the_stall_counters():
    offsets = [register.offset for register in registers.REGISTERS]
    assert len(set(offsets)) == len(offsets)
    assert all(at % 4 == 0 and at < registers.STALLS for at in offsets)


class TestSimulated:
    pytestmark = needs_tools

    @pytest.mark.parametrize("seed", [0, 1])
    def test_every_address_answers_as_the_map_says(self, top: Top, seed: int):
        links = len(top.links)
        stalls = {at(link) for link in range(links) for at in (registers.blocked, registers.starved)}
        known = {register.offset: register for register in registers.REGISTERS}
        outside = [registers.STALLS - 4, registers.blocked(links), registers.blocked(links) + 4, registers.SPACE - 4]
        space = [*range(0, 0x80, 4), *sorted(stalls), *outside]
        run = top.run(seed=seed, before=[Access(at) for at in space])
        for at, answer in zip(space, run.answers, strict=True):
            assert answer.response == (OKAY if at in known or at in stalls else SLVERR), hex(at)
        values = dict(zip(space, data(run), strict=True))
        build_id = int(top.design.registers.build, 16)
        expected = {"MAGIC": registers.MAGIC, "VERSION": registers.VERSION, "BUILD": build_id, "LINKS": links}
        for register in registers.REGISTERS:
            assert values[register.offset] == expected.get(register.name, 0), register.name
        np.testing.assert_array_equal(logits(run), top.logits(0, 1, 2))

    def test_what_is_only_read_cannot_be_written(self, top: Top):
        space = [*range(0, 0x80, 4), registers.STALLS, registers.SPACE - 4]
        run = top.run(before=[Access(at, 0) for at in space])
        writable = {register.offset for register in registers.REGISTERS if register.access != "ro"}
        assert [answer.response for answer in run.answers] == [OKAY if at in writable else SLVERR for at in space]

    def test_images_are_counted_and_cleared(self, top: Top):
        names = ("IMAGES_IN", "IMAGES_OUT", "SHORT_IMAGES", "LONG_IMAGES", "ERRORS")
        clear = Access(offset("CONTROL"), CONTROL_CLEAR)
        run = top.run(seed=1, after=[*reads(*names), clear, *reads(*names, "CONTROL")])
        assert data(run)[:5] == [3, 3, 0, 0, 0]
        assert data(run)[6:] == [0] * 6

    @pytest.mark.parametrize("seed, chance", [(0, 1.0), (1, 0.6), (2, 0.3)])
    def test_the_stalls_of_every_link_are_counted(self, top: Top, seed: int, chance: float):
        """Once the last logit has left, all links wait for their sources until they are held, and `starved` counts that."""
        counters = [at(link) for link in range(len(top.links)) for at in (registers.blocked, registers.starved)]
        hold = Access(offset("CONTROL"), CONTROL_HOLD)
        run = top.run(
            seed=seed,
            valid_probability=chance,
            ready_probability={"m_axis": chance},
            after=[hold, *(Access(at) for at in counters), *(Access(at) for at in counters)],
        )
        first, second = np.array(data(run)[1:]).reshape(2, -1, 2)
        np.testing.assert_array_equal(first, second)
        seen = [run.taps[link] for link in top.links[1:-1]]
        assert first[1:-1, 0].tolist() == [beats.blocked for beats in seen]
        behind = {link: count - beats.starved for link, count, beats in zip(top.links[1:-1], first[1:-1, 1].tolist(), seen, strict=True)}
        adders = {"mixer_0_out", "fifo_0_out", "fifo_1_out", "mvau_1_out"}  # are ready only for both operands
        assert {behind.pop(link) for link in adders} == {0}
        (wait,) = set(behind.values())
        assert 0 < wait <= run.answers[0].cycle - run.cycles
        assert first[-1, 0] == run.outputs["m_axis"].blocked
        assert first[:, 0].any() and first[0, 1] > 0

    def test_cleared_stall_counters_start_again_at_0(self, top: Top):
        control = offset("CONTROL")
        clear = [Access(control, CONTROL_HOLD), Access(control, CONTROL_HOLD | CONTROL_CLEAR)]
        counters = [Access(4 * word) for word in range(0x100, 0x100 + 2 * len(top.links))]
        run = top.run(seed=1, valid_probability=0.5, after=[*counters, *clear, *counters])
        assert sum(data(run)[: len(counters)]) > 0
        assert data(run)[len(counters) + 2 :] == [0] * len(counters)

    @pytest.mark.parametrize("seed, chance", [(0, 1.0), (1, 0.6)])
    @pytest.mark.parametrize("length", [1, 100, BEATS - 1])
    def test_a_short_image_is_filled_up_and_the_next_is_right(self, top: Top, length: int, seed: int, chance: float):
        feed = np.concatenate([FEED[:BEATS], FEED[BEATS : BEATS + length], FEED[2 * BEATS :]])
        ends = np.isin(np.arange(len(feed)), [BEATS - 1, BEATS + length - 1, len(feed) - 1])
        errors = Access(offset("ERRORS"), ERROR_SHORT)
        after = [*reads("IMAGES_IN", "IMAGES_OUT", "SHORT_IMAGES", "LONG_IMAGES", "ERRORS"), errors, *reads("ERRORS")]
        run = top.run(
            feed, seed=seed, valid_probability=chance, ready_probability=chance, last={"s_axis": ends}, after=after
        )
        np.testing.assert_array_equal(logits(run)[[0, 2]], top.logits(0, 2))
        assert data(run)[:5] == [3, 3, 1, 0, ERROR_SHORT]
        assert data(run)[-1] == 0

    def test_the_beats_that_a_short_image_lacks_are_zeros(self, top: Top):
        cut = IMAGES.reshape(3, -1).copy()
        cut[1, 100:] = 0
        whole = top.run(cut.reshape(-1, 1))
        feed = np.concatenate([FEED[: BEATS + 100], FEED[2 * BEATS :]])
        ends = np.isin(np.arange(len(feed)), [BEATS - 1, BEATS + 99, len(feed) - 1])
        np.testing.assert_array_equal(logits(top.run(feed, last={"s_axis": ends})), logits(whole))

    @pytest.mark.parametrize("seed, chance", [(0, 1.0), (1, 0.6)])
    @pytest.mark.parametrize("surplus", [1, 50, 2 * BEATS + 7])
    def test_a_long_image_is_cut_and_the_next_is_right(self, top: Top, surplus: int, seed: int, chance: float):
        more = np.random.default_rng(3).integers(0, 256, (surplus, 1)).astype(np.uint8)
        feed = np.concatenate([FEED[: 2 * BEATS], more, FEED[2 * BEATS :]])
        ends = np.isin(np.arange(len(feed)), [BEATS - 1, 2 * BEATS + surplus - 1, len(feed) - 1])
        errors = Access(offset("ERRORS"), ERROR_LONG)
        after = [*reads("IMAGES_IN", "IMAGES_OUT", "SHORT_IMAGES", "LONG_IMAGES", "ERRORS"), errors, *reads("ERRORS")]
        run = top.run(
            feed, seed=seed, valid_probability=chance, ready_probability=chance, last={"s_axis": ends}, after=after
        )
        np.testing.assert_array_equal(logits(run), top.logits(0, 1, 2))
        assert data(run)[:5] == [3, 3, 0, 1, ERROR_LONG]
        assert data(run)[-1] == 0

    def test_an_error_that_was_not_written_stays(self, top: Top):
        ends = np.arange(BEATS) == BEATS - 2  # short by a beat
        after = [Access(offset("ERRORS"), ERROR_LONG), *reads("ERRORS")]
        run = top.run(FEED[: BEATS - 1], 1, last={"s_axis": ends[:-1]}, after=after)
        assert data(run)[-1] == ERROR_SHORT

    @pytest.mark.parametrize("tied", [False, True])
    def test_a_host_without_tlast_says_so(self, top: Top, tied: bool):
        ignore = Access(offset("CONTROL"), CONTROL_IGNORE_TLAST)
        run = top.run(
            seed=1,
            last={"s_axis": np.full(len(FEED), tied)},
            before=[ignore],
            after=reads("IMAGES_IN", "SHORT_IMAGES", "LONG_IMAGES", "ERRORS", "CONTROL"),
        )
        np.testing.assert_array_equal(logits(run), top.logits(0, 1, 2))
        assert data(run)[1:] == [3, 0, 0, 0, CONTROL_IGNORE_TLAST]

    def test_a_design_without_registers_has_none(self, tmp_path: Path):
        b = network()
        design = emit(b.model("classifier_y"), tmp_path / "rtl", registers=False)
        assert design.registers is None
        assert not {path.name for path in (tmp_path / "rtl").iterdir()} & {"register_file.sv", "input_guard.sv"}
        assert "s_axi_lite" not in (tmp_path / "rtl" / "psaflow_top.sv").read_text()
        files = sources(read_design(tmp_path / "rtl"), tmp_path / "rtl")
        simulator = build(files, design.top, tmp_path / "sim", [Stream("s_axis", 1)], [Stream("m_axis", 4)])
        run = simulator.run({"s_axis": FEED}, {"m_axis": 30})
        np.testing.assert_array_equal(logits(run), b.values["logits"])
        with pytest.raises(SimulationError, match="the design has no registers"):
            simulator.run({"s_axis": FEED}, {"m_axis": 30}, after=reads("MAGIC"))


def test_the_build_is_another_where_a_weight_is(tmp_path):
    first = emit(network().model("classifier_y"), tmp_path)
    again = emit(network().model("classifier_y"), tmp_path)
    b = network()
    for tensor in b.initializers:
        if tensor.name == "classifier_0":
            tensor.raw_data = bytes([tensor.raw_data[0] ^ 1]) + tensor.raw_data[1:]
    other = emit(b.model("classifier_y"), tmp_path)
    assert first.registers == again.registers
    assert first.registers.build != other.registers.build
