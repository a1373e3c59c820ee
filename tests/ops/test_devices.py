"""Devices as data: what ships is whole, what is wrong is named in one line."""

from pathlib import Path

import pytest

from custom_ops.devices import DeviceError, device, devices, read_device

GOOD = "name: d\nfamily: ecp5\nlut: 100\ndsp: 2\nbram: 3\nsource: made up\n"


def test_the_devices_that_ship_have_the_sizes_of_their_tables() -> None:
    sizes = {name: (d.lut, d.dsp, d.bram, d.option) for name, d in devices().items()}
    assert sizes["LFE5U-25F"] == (24288, 28, 56, "--25k")
    assert sizes["LFE5U-45F"] == (43848, 72, 108, "--45k")
    assert sizes["LFE5U-85F"] == (83640, 156, 208, "--85k")
    assert sizes["xcu50"] == (872000, 5952, 2 * 1344, None)
    assert sizes["zu7ev"] == (230400, 1728, 2 * 312, None)
    assert sizes["xck26"] == (117120, 1248, 2 * 144, None)


def test_an_unknown_device_is_named_with_its_nearest() -> None:
    with pytest.raises(DeviceError, match=r"^device 'lfe5u-85': unknown; did you mean LFE5U-85F"):
        device("lfe5u-85")
    with pytest.raises(DeviceError, match=r"^device 'zzz': unknown; known: LFE5U-12F, .*xcu50$"):
        device("zzz")


@pytest.mark.parametrize(("text", "says"), [
    (GOOD.replace("lut: 100", "lut: many"), "lut: "), (GOOD.replace("lut: 100", "lut: 0"), "lut: "), (GOOD + "ff: 3\n", "ff: "),
    (GOOD.replace("ecp5", "ecp6"), "family: "), (GOOD.replace("dsp: 2\n", ""), "dsp: "), (GOOD.replace("name: d", "name: e"), "must be 'd'"),
    ("- 1\n", "holds no keys"), ("a: [\n", "no YAML"),
])  # fmt: skip
def test_a_wrong_file_is_refused_in_one_line_that_names_the_key(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(GOOD)
    assert read_device(tmp_path / "d.yaml").bram == 3
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(DeviceError) as error:
        read_device(tmp_path / "d.yaml")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
