"""Proofs by yosys: the properties of one module in tests/formal/<module>.sv, for all inputs and all stalls.

A proof is by induction over `steps` cycles, so it has no bound in time: the properties hold in the first cycles
after reset, and whenever they held for that many cycles they hold in the next one. A planted fault must give a
counterexample that starts at reset and shows at the module's ports or as a credit too many: the invariants are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accel import tools
from accel.instance import RTL, sources_of

HERE = Path(__file__).parent
_SCRIPT = """\
read_verilog -sv -formal {defines} rules.sv properties.sv {sources}
{parameters}
hierarchy -check -top {top} {top_parameters}
proc
memory -nomap -nordff
memory_map
flatten
{cut}
chformal -lower
setundef -undriven -anyseq
opt -full
sat -tempinduct -prove-asserts -set-assumes {options}
"""
_PROVEN = "Induction step proven: SUCCESS!"
_REFUTED = "model found for base case: FAIL!"


@dataclass(frozen=True)
class Fault:
    """A change of the source that must break a property; `steps` cycles suffice to see it."""

    name: str
    old: str
    new: str
    steps: int = 12


@dataclass(frozen=True)
class Proof:
    """Of a module at some parameters (of its property file)."""

    module: str
    steps: int
    faults: tuple[Fault, ...] = ()
    parameters: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # module -> its parameters' defaults
    smaller: tuple[str, str, str] | None = None  # module, old text of its source, new: a size that no parameter gives
    free: str = ""  # a signal that takes any value: a path of data whose values the properties do not speak of
    memories: Mapping[str, str] = field(default_factory=dict)  # file -> text

    @property
    def name(self) -> str:
        """The module and its parameters."""
        return "-".join([self.module, *(f"{key}={value}" for key, value in self.parameters.items())])


def changed(source: str, old: str, new: str) -> str:
    """`source` with its one `old` replaced; ValueError if it is not there exactly once."""
    if source.count(old) != 1:
        raise ValueError(f"{old!r} is {source.count(old)} times in the source")
    return source.replace(old, new)


def verdict(proof: Proof, folder: Path, fault: Fault | None = None) -> str:
    """`proven`, `refuted` (a counterexample from reset), or `open`; yosys runs in `folder`."""
    sources = sources_of(proof.module)
    for name in sources:
        (folder / name).write_text((RTL / name).read_text())
    changes = [proof.smaller] if proof.smaller else []
    changes += [(proof.module, fault.old, fault.new)] if fault is not None else []
    for module, old, new in changes:
        path = folder / f"{module}.sv"
        path.write_text(changed(path.read_text(), old, new))
    (folder / "rules.sv").write_text((HERE / "rules.sv").read_text())
    (folder / "properties.sv").write_text((HERE / f"{proof.module}.sv").read_text())
    for name, content in proof.memories.items():
        (folder / name).write_text(content)
    if fault is None:
        options = f"-maxsteps {proof.steps} -initsteps {proof.steps - 1}"
    else:
        options = f"-maxsteps {fault.steps} -tempinduct-baseonly"
    script = _SCRIPT.format(
        defines="-DINVARIANTS" if fault is None else "",
        sources=" ".join(sources),
        parameters="\n".join(
            f"chparam -set {key} {value} {module}" for module, sizes in proof.sizes.items() for key, value in sizes.items()
        ),
        top=f"{proof.module}_properties",
        top_parameters=" ".join(f"-chparam {key} {value}" for key, value in proof.parameters.items()),
        cut=f"cutpoint w:{proof.free}" if proof.free else "",
        options=options,
    )
    (folder / "prove.ys").write_text(script)
    tools.run("yosys", ["-q", "-l", "prove.log", "prove.ys"], folder)
    log = (folder / "prove.log").read_text()
    if _REFUTED in log:
        return "refuted"
    return "proven" if _PROVEN in log else "open"
