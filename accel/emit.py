"""A dataflow model (4_dataflow.onnx) -> SystemVerilog wrappers, their memory files, the top and design.json."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from accel import instance as rtl
from accel import registers, verilog
from accel.instance import RTL, Folding, Instance, InstanceError, Rounding
from custom_ops import HW_DOMAIN
from custom_ops.hw import FoldingError, HwNode, hardware_node
from custom_ops.hw.matrix import FOLDING as MATRIX_FOLDING

TOP = "psaflow_top"
GUARD = f"{TOP}_guard"
RENAMES = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")  # same elements in the same order
MOVERS = ("Patches", "Fork", "Fifo", "WidthConverter")  # hand on what they get, of whatever datatype
_IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_KEYWORDS = re.compile(
    "always|and|assign|assert|begin|before|bind|bit|buf|case|cell|cover|default|design|edge|"
    "else|end|enum|event|export|final|for|force|fork|function|generate|genvar|if|import|"
    "initial|inout|input|instance|int|integer|interface|join|library|local|logic|module|new|not|"
    "null|or|output|package|parameter|posedge|priority|program|property|protected|pure|rand|real|"
    "reg|ref|release|repeat|return|sequence|signed|static|string|strong|struct|super|table|task|"
    "this|time|type|union|unique|unsigned|use|var|virtual|void|wait|weak|while|wire|with|"
    "within|xor"
)


class EmitError(ValueError):
    """A model that cannot become RTL; the message is one line that names the node."""


@dataclass(frozen=True)
class Port:
    """The image port or the logits port."""

    lanes: int  # elements per beat
    bits: int  # per element
    beats_per_image: int
    tensor: str


@dataclass(frozen=True)
class ModuleFiles:
    """One node's files in the folder."""

    name: str
    op: str
    sources: list[str]
    memories: list[str]


@dataclass(frozen=True)
class Link:
    """One stream inside the top: wires <signal>_tdata, _tvalid, _tready, _tlast."""

    signal: str
    tensor: str
    node: str
    lanes: int
    bits: int
    beats_per_image: int


@dataclass(frozen=True)
class Registers:
    """The register file's part of a design."""

    build: str  # 0x and the first 32 bits of the SHA-256 of all other files
    links: list[str]  # signals, in the order of their stall counters


@dataclass(frozen=True)
class Design:
    """What was emitted; design.json holds the same."""

    top: str
    input: Port
    output: Port
    modules: list[ModuleFiles]
    links: list[Link]
    registers: Registers | None

    def json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def emit(model: onnx.ModelProto, folder: Path, registers: bool = True) -> Design:
    """Write the accelerator of `model` to `folder`, in place of what an earlier call wrote there.

    registers: with an AXI4-Lite slave (accel/registers.py) and a guard that keeps images whole; without, TLAST is ignored.
    The model's nodes are of domain psaflow.hw with streams in one piece: equal lanes at both ends, one reader per tensor.
    EmitError, before anything is written, names the node that does not fit.
    """
    graph = _Graph(model, registers)
    texts, design = graph.texts(), graph.design()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "design.json").unlink(missing_ok=True)
    for stale in [*folder.glob("*.sv"), *folder.glob("*.hex")]:
        stale.unlink()
    for source in sorted({source for part in graph.instances for source in part.sources}):
        shutil.copyfile(RTL / source, folder / source)
    for file, text in {**texts, "design.json": design.json()}.items():
        (folder / file).write_text(text)
    return design


class _Graph:
    """The model's hardware nodes, planned and connected."""

    def __init__(self, model: onnx.ModelProto, registers: bool) -> None:
        graph = model.graph
        self.entry = GUARD if registers else "s_axis"  # the stream that the first node reads
        self.registers: Registers | None = None
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.shapes = _shapes(graph)
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise EmitError(
                f"{len(inputs)} inputs and {len(graph.output)} outputs; the accelerator has one of each"
            )
        self.source, self.sink = inputs[0].name, graph.output[0].name
        self.bits: dict[str, int] = {}
        element = onnx.TensorProto.DataType.Name(inputs[0].type.tensor_type.elem_type)
        if element not in ("UINT8", "INT8"):
            raise EmitError(f"the image '{self.source}' is {element}; UINT8 or INT8 expected")
        self.unsigned = {self.source} if element == "UINT8" else set()  # tensors
        self.plans: dict[str, HwNode] = {}
        self.instances: list[Instance] = []
        self.links: dict[str, Link] = {}  # by tensor
        self.bindings: dict[str, dict[str, str]] = {}
        self.same: dict[str, str] = {}  # renamed tensor -> the tensor that is streamed
        self.readers: dict[str, str] = {}  # streamed tensor -> node or `the output`
        for node in graph.node:
            self._add(node)
        self._read(self.sink, "the output")
        for tensor, link in self.links.items():
            if tensor not in self.readers:
                raise EmitError(f"{link.node}: nothing reads its output '{tensor}'; remove the node")
        if self.source not in self.readers or self.readers[self.source] == "the output":
            raise EmitError(f"no node reads the image '{self.source}'")

    def design(self) -> Design:
        """What `texts` gave."""
        return Design(
            top=TOP,
            input=self._input(),
            output=Port(self.last.lanes, self.last.bits, self.last.beats_per_image, self.sink),
            modules=[
                ModuleFiles(
                    part.name,
                    self.plans[part.name].op_type if part.name in self.plans else part.module,
                    [f"{part.name}.sv", *part.sources],
                    [*part.memories],
                )
                for part in self.instances
            ],
            links=list(self.links.values()),
            registers=self.registers,
        )

    @property
    def last(self) -> Link:
        """The link that leaves the accelerator."""
        return self.links[self._streamed(self.sink)]

    def _input(self) -> Port:
        reader = self.plans[self.readers[self.source]]
        return Port(reader.in_lanes[0], 8, reader.in_beats[0], self.source)

    def texts(self) -> dict[str, str]:
        """{file: text} of wrappers, memories and the top."""
        texts = {}
        for part in self.instances:
            plan = self.plans[part.name]
            texts[f"{part.name}.sv"] = verilog.wrapper(
                part, f"{plan.op_type}: {plan.cycles} cycles an image."
            )
            texts |= part.memories
        wires = {link.signal: link.lanes * link.bits // 8 for link in self.links.values()}
        port, sink = self._input(), (self.last.signal, wires[self.last.signal])
        control = self._add_registers(port, texts) if self.entry == GUARD else None
        if control is not None:
            wires = {GUARD: port.lanes} | wires
            texts |= {f"{part.name}.sv": verilog.wrapper(part, part.module) for part in self.instances[-2:]}
        source = ("s_axis", port.lanes)
        texts[f"{TOP}.sv"] = verilog.top(TOP, self.instances, wires, self.bindings, source, sink, control)
        return texts

    def _add_registers(self, port: Port, texts: Mapping[str, str]) -> verilog.Control:
        """The guard of the input and the register file as the last two instances."""
        inner = [link.signal for link in self.links.values() if link is not self.last]
        links = ["s_axis", *inner, self.last.signal]
        digest = hashlib.sha256("".join(f"{name}\n{text}" for name, text in sorted(texts.items())).encode())
        build = digest.hexdigest()[:8]
        self.registers = Registers(f"0x{build}", links)
        guard = rtl.input_guard(GUARD, port.beats_per_image, port.lanes)
        slave = rtl.register_file(f"{TOP}_registers", len(links), int(build, 16))
        self.bindings[GUARD] = {"s_axis": "s_axis", "m_axis": GUARD}
        self.instances += [guard, slave]
        joined = {f"link_{pin}": tuple(f"{link}_t{pin}" for link in reversed(links)) for pin in ("valid", "ready")}
        joined |= {"out_tlast": (f"{self.last.signal}_tlast",)}
        ports = {pin: kind for pin, kind in slave.pins.items() if pin.startswith(registers.PREFIX)}
        return verilog.Control(ports, rtl.GUARD_PINS, joined)

    def _add(self, node: NodeProto) -> None:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            self.constants |= _constant(node)
        elif node.op_type in RENAMES and node.domain in ("", "ai.onnx"):
            self.same[node.output[0]] = self._streamed(node.input[0])
        elif node.domain == HW_DOMAIN:
            self._add_hardware(node)
        else:
            raise EmitError(
                f"{node.op_type} {node.name or node.output[0]}: no hardware for domain"
                f" '{node.domain or 'ai.onnx'}'; lower it to {HW_DOMAIN} first"
            )

    def _add_hardware(self, node: NodeProto) -> None:
        self._check_name(node)
        try:
            plan = hardware_node(node, self.constants, self.shapes, self.bits)
            part = instance_of(node, plan, self.constants, self.shapes)
        except (FoldingError, InstanceError) as error:
            raise EmitError(str(error)) from None
        streams = [name for name in node.input if name and name not in self.constants]
        binding = {}
        for index, (prefix, name) in enumerate(zip(part.inputs, streams, strict=True)):
            binding[prefix] = self._connect(node, plan, index, name)
        for index, (prefix, name) in enumerate(zip(part.outputs, node.output, strict=True)):
            signal = prefix.replace("m_axis", f"{node.name}_out")
            binding[prefix] = signal
            self.bits[name] = plan.out_bits
            if node.op_type in MOVERS and streams[0] in self.unsigned:
                self.unsigned.add(name)
            beats, lanes = plan.out_beats[index], plan.out_lanes[index]
            self.links[name] = Link(signal, name, node.name, lanes, plan.out_bits, beats)
        self.plans[node.name] = plan
        self.instances.append(part)
        self.bindings[node.name] = binding

    def _check_name(self, node: NodeProto) -> None:
        name, known = node.name, {*self.plans, *(link.signal for link in self.links.values())}
        if not _IDENTIFIER.fullmatch(name) or _KEYWORDS.fullmatch(name) or name in rtl.MODULES or name.startswith(TOP):
            raise EmitError(f"{node.op_type} '{name}': the name is no free Verilog identifier; try mvau_0")
        if name in known or f"{name}_out" in known:
            raise EmitError(f"{node.op_type} {name}: another node has this name; names are unique")

    def _connect(self, node: NodeProto, plan: HwNode, index: int, name: str) -> str:
        """Check input `index` of `node` against the node that streams it; return the signal."""
        label, streamed = f"{node.op_type} {node.name}", self._read(name, node.name)
        if plan.in_bits == 8 and self.bits.get(streamed, 8) != 8:
            raise EmitError(f"{label}: its input '{name}' has 32 bits an element, not 8")
        if streamed in self.unsigned and node.op_type not in (*MOVERS, "ChannelLUT"):
            raise EmitError(f"{label}: its input '{name}' is uint8, not int8; put a ChannelLUT before it")
        if streamed == self.source:
            return self.entry
        link = self.links[streamed]
        if link.lanes != plan.in_lanes[index]:
            raise EmitError(
                f"{label} takes {plan.in_lanes[index]} lanes, {link.node} gives {link.lanes};"
                " put a WidthConverter between them"
            )
        if link.beats_per_image != plan.in_beats[index]:
            raise EmitError(
                f"{label} takes {plan.in_beats[index]} beats an image, {link.node} gives {link.beats_per_image}"
            )
        return link.signal

    def _streamed(self, name: str) -> str:
        """The tensor that is streamed under the name `name`."""
        name = self.same.get(name, name)
        if name != self.source and name not in self.links:
            raise EmitError(f"'{name}' is read before any node gives it; sort the nodes topologically")
        return name

    def _read(self, name: str, reader: str) -> str:
        streamed = self._streamed(name)
        if streamed in self.readers:
            raise EmitError(
                f"'{streamed}' feeds {self.readers[streamed]} and {reader}; put a Fork after its source"
            )
        self.readers[streamed] = reader
        return streamed


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """{tensor: shape}; an unknown dimension is 0."""
    values = [*graph.input, *graph.value_info, *graph.output]
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


def _constant(node: NodeProto) -> dict[str, np.ndarray]:
    values = [onnx.helper.get_attribute_value(attribute) for attribute in node.attribute]
    tensors = [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else np.array(v) for v in values]
    return {node.output[0]: tensors[0]}


def _folding(given: Mapping[str, int]) -> Folding:
    """The folding of a matrix unit's attributes."""
    return Folding(*(given.get(name, default) for name, default in MATRIX_FOLDING.items()))


def instance_of(
    node: NodeProto, plan: HwNode, constants: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> Instance:
    """The RTL instance of a planned node."""
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    name, shape = node.name, shapes[node.input[0]][1:]
    arrays = [constants[tensor] for tensor in node.input[1:] if tensor in constants]
    elements, shift = int(np.prod(shape)), given.get("shift", 0)
    lanes, out_lanes, bits = plan.in_lanes[0], plan.out_lanes[0], plan.in_bits
    step = Rounding(given.get("rounding", b"HALF_EVEN").decode(), given.get("lo", -128), given.get("hi", 127))
    match node.op_type:
        case "Patches":
            return rtl.patches(name, shape[0], shape[1], shape[2], given.get("patch", 4), lanes)
        case "ChannelLUT":
            return rtl.channel_lut(name, arrays[0], elements, lanes, given.get("lowest", -128), step.rounding)
        case "ChannelRequant":
            mult, bias, shifts = arrays
            return rtl.channel_requant(name, mult, bias, shifts, elements, lanes, step)
        case "MatVec":
            weight, bias = arrays[:2]
            row_shift = arrays[2] if len(arrays) > 2 else None
            return rtl.mat_vec(name, weight, bias, row_shift, shape[0], _folding(given), step)
        case "TokenMix":
            weight, bias, shifts = arrays
            return rtl.token_mix(name, weight, bias, shifts, shape[1], _folding(given), step)
        case "ResidualAdd":
            a_shift, b_shift = given.get("a_shift", 0), given.get("b_shift", 0)
            return rtl.residual_add(name, elements, lanes, a_shift, b_shift, shift, step)
        case "TokenMean":
            return rtl.token_mean(name, shape[0], shape[1], lanes, shift, step)
        case "Fork":
            return rtl.stream_fork(name, lanes, bits)
        case "Fifo":
            return rtl.fifo(name, given.get("depth", 2), lanes, bits)
        case "WidthConverter":
            return rtl.width_converter(name, lanes, out_lanes, bits)
    raise EmitError(f"{node.op_type} {name}: no RTL module")
