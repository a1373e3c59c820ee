"""The rooms of the house and their doors, read from the source: who imports whom, how long files are, where an op's faces are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from custom_ops import DOMAINS, HW_DOMAIN
from custom_ops.kernels import KERNELS

ROOT = Path(__file__).parents[1]
DOORS = {  # room -> the rooms it may import
    "custom_ops": set(),
    "train": {"custom_ops"},
    "passes": {"custom_ops"},
    "accel": {"custom_ops"},
    "pipelines": {"custom_ops", "train", "passes", "accel"},
}
OURS = {*DOORS, "tests"}
SOURCES = (".py", ".sv", ".v", ".c", ".cc", ".h")
LONGEST = 400  # lines of a file
KEYWORDS = {"fork": "stream_fork"}  # an op whose stem SystemVerilog reserves -> its module
EVERYTHING = ("Exception", "BaseException")
DYNAMIC = ("import_module", "__import__", "run_module", "find_spec")


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of a file in `package`, those inside functions and by name included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield node.lineno, ".".join([*above, *([node.module] if node.module else [])])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in DYNAMIC and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def closed_doors(room: str, root: Path = ROOT) -> list[str]:
    """Imports of `room` that lead through no door, as `file:line imports name`."""
    found = []
    for path in sorted((root / room).rglob("*.py")):
        package = ".".join(path.relative_to(root).parts[:-1])
        for line, name in imports(path.read_text(), package):
            target = name.split(".")[0]
            if target in OURS - DOORS[room] - {room}:
                found.append(f"{path.relative_to(root)}:{line} imports {name}")
    return found


def stem(op: str) -> str:
    """`ChannelLUT` -> `channel_lut`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", op).lower()


def sources() -> list[Path]:
    return sorted(p for room in OURS for p in (ROOT / room).rglob("*") if p.suffix in SOURCES and "__pycache__" not in p.parts)


def test_every_room_is_there() -> None:
    assert not [room for room in DOORS if not (ROOT / room / "__init__.py").is_file()]


@pytest.mark.parametrize("room", DOORS)
def test_a_room_imports_only_through_its_doors(room: str) -> None:
    assert closed_doors(room) == []


@pytest.mark.parametrize(("text", "line"), [
    ("import passes", 1), ("import os\nimport passes.graph as g", 2), ("from passes import TIDY", 1), ("from passes.graph import Graph", 1),
    ("def f():\n    from accel import emit", 2), ("if True:\n    import accel.tools", 2),
    ("import importlib\nimportlib.import_module('passes.graph')", 2),
    ("__import__('pipelines')", 1), ("from tests.conftest import ACTIVATIONS", 1), ("from ..passes import graph", 1),
])  # fmt: skip
def test_a_closed_door_is_seen(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "train" / "inner").mkdir(parents=True)
    (tmp_path / "train" / "inner" / "module.py").write_text(text if ".." not in text else text.replace("..", "..."))
    (found,) = closed_doors("train", tmp_path)
    assert found.startswith(f"train/inner/module.py:{line} imports ")


@pytest.mark.parametrize("text", [
    "import custom_ops", "from train import data", "from . import lerp", "from .lerp import lerp", "import torch",
    "from custom_ops.hw import OPS", "from ..quantizers import plain", "import passes_of_others", "x = 'import passes'",
])  # fmt: skip
def test_an_open_door_is_not_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "train" / "inner").mkdir(parents=True)
    (tmp_path / "train" / "inner" / "module.py").write_text(text)
    assert closed_doors("train", tmp_path) == []


def test_no_file_is_longer_than_two_should_be() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_no_file_is_named_utils() -> None:
    assert not [str(p) for p in sources() if re.search(r"util|helper|misc", p.stem)]


def test_what_catches_every_exception_raises_it_again() -> None:
    found = []
    for path in (p for p in sources() if p.suffix == ".py" and "tests" not in p.relative_to(ROOT).parts[:1]):
        for node in ast.walk(ast.parse(path.read_text())):
            everything = isinstance(node, ast.ExceptHandler) and (node.type is None or getattr(node.type, "id", "") in EVERYTHING)
            if everything and not any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(node)):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize(("domain", "op"), [(d, op) for d, ops in DOMAINS.items() for op in ops])
def test_the_faces_of_an_op_share_one_stem(domain: str, op: str) -> None:
    name = stem(op)
    folder = ROOT / "custom_ops" / ("hw" if domain == HW_DOMAIN else "")
    source = folder / f"{name}.py"
    assert source.is_file()
    assert f"class {op}(" in source.read_text()
    assert DOMAINS[domain][op].__module__ == ".".join(source.relative_to(ROOT).with_suffix("").parts)
    assert (ROOT / "tests" / "ops" / f"test_{name}.py").is_file()
    if domain == HW_DOMAIN:
        module = KEYWORDS.get(name, name)
        assert f"module {module}" in (ROOT / "accel" / "rtl" / f"{module}.sv").read_text()


def test_a_kernel_has_the_stem_of_its_op() -> None:
    for domain, op in KERNELS:
        assert op in DOMAINS.get(domain, {}) or domain not in DOMAINS
        if domain in DOMAINS:
            assert (ROOT / "custom_ops" / "kernels" / f"{stem(op)}.cc").is_file()


@pytest.mark.parametrize(("folder", "whole"), [("", {"stages", "foreign", "mutants"}), ("finn", {"to_finn"})])
def test_every_pass_file_has_its_test_file(folder: str, whole: set[str]) -> None:
    passes = {p.stem for p in (ROOT / "passes" / folder).glob("*.py")} - {"__init__"}
    tests = {p.stem.removeprefix("test_") for p in (ROOT / "tests" / "passes" / folder).glob("test_*.py")}
    assert passes - tests == set()
    assert tests - passes == whole


def test_the_stages_are_tuples_of_passes_in_files_of_their_own() -> None:
    import passes
    from passes import INTEGER, RUNTIME, STREAMLINE, TIDY, TO_FINN, dataflow

    for step in (*TIDY, *STREAMLINE, *INTEGER, *RUNTIME, *dataflow(10000), *TO_FINN):
        name = type(step).__name__
        expected = "passes.annotate" if name in ("InferShapes", "AnnotateDatatypes", "RemoveUnused") else pass_module(name)
        assert type(step).__module__ == expected
        assert type(step).__doc__, name
    assert (ROOT / "passes" / "__init__.py").read_text().count("Transformation") <= 4
    assert passes.__doc__


def pass_module(name: str) -> str:
    """`GemmToMatMul` -> `passes.gemm_to_matmul`, the file's name as people write it."""
    known = {p.stem.replace("_", ""): p for p in (ROOT / "passes").rglob("*.py")}
    return ".".join(known[name.lower()].relative_to(ROOT).with_suffix("").parts)


def test_every_op_inside_finn_has_its_backend_and_their_tests() -> None:
    ops = {p.stem for p in (ROOT / "custom_ops" / "finn").glob("psa_*.py")}
    assert ops
    assert {p.stem for p in (ROOT / "accel" / "finn").glob("psa_*.py")} == {f"{op}_rtl" for op in ops}
    assert {p.stem for p in (ROOT / "tests" / "ops" / "finn").glob("test_psa_*.py")} == {f"test_{op}" for op in ops}
    assert {p.stem for p in (ROOT / "tests" / "accel" / "finn").glob("test_psa_*.py")} == {f"test_{op}_rtl" for op in ops}
