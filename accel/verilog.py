"""The text of the emitted SystemVerilog: one wrapper per node, and the top that wires them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accel.instance import Instance

_PINS = ("tdata", "tvalid", "tready", "tlast")


def _ports(streams: Mapping[str, int], direction: str, opposite: str) -> list[str]:
    lines = []
    for prefix, width in streams.items():
        for pin in _PINS:
            vector = f"[{8 * width - 1}:0] " if pin == "tdata" else ""
            way = opposite if pin == "tready" else direction
            lines.append(f"  {way:<6} logic {vector}{prefix}_{pin}")
    return lines


def _header(
    name: str, inputs: Mapping[str, int], outputs: Mapping[str, int], pins: Mapping[str, tuple[str, int]]
) -> str:
    ports = ["  input  logic clk", "  input  logic rst_n"]
    ports += _ports(inputs, "input", "output") + _ports(outputs, "output", "input")
    ports += [f"  {way:<6} logic {_range(bits)}{pin}" for pin, (way, bits) in pins.items()]
    return f"module {name} (\n" + ",\n".join(ports) + "\n);\n"


def _range(bits: int) -> str:
    return f"[{bits - 1}:0] " if bits > 1 else ""


def parameter_lines(parameters: Mapping[str, int | str]) -> str:
    """The inside of #( ): one parameter a line, strings in quotes."""
    return ",\n".join(
        f'    .{name}("{value}")' if isinstance(value, str) else f"    .{name}({value})"
        for name, value in parameters.items()
    )


def wrapper(instance: Instance, comment: str) -> str:
    """Module <instance name>: the module of rtl/ with its parameters and memory files fixed."""
    parameters = parameter_lines(instance.parameters)
    pins = ["clk", "rst_n"] + [f"{p}_{pin}" for p in (*instance.inputs, *instance.outputs) for pin in _PINS]
    ports = ",\n".join(f"    .{pin}" for pin in (*pins, *instance.pins))
    return (
        f"// {comment}\n{_header(instance.name, instance.inputs, instance.outputs, instance.pins)}\n"
        f"  {instance.module} #(\n{parameters}\n  ) core (\n{ports}\n  );\n\nendmodule\n"
    )


@dataclass(frozen=True)
class Control:
    """What a top has beside its streams."""

    ports: Mapping[str, tuple[str, int]]  # of the top: direction, bits
    wires: tuple[str, ...]  # of one bit
    joined: Mapping[str, tuple[str, ...]]  # pin of an instance -> what it is tied to, the highest bit first


def top(
    name: str,
    instances: Sequence[Instance],
    wires: Mapping[str, int],
    bindings: Mapping[str, Mapping[str, str]],
    source: tuple[str, int],
    sink: tuple[str, int],
    control: Control | None = None,
) -> str:
    """The top module.

    wires: {signal: bytes per beat} of the links; bindings: {instance: {port prefix: signal, or s_axis}}; source: the
    ports' prefix and bytes of the image; sink: the signal that leaves by m_axis, and its bytes. A pin of an instance that
    `control` does not join is tied to the port or wire of its own name.
    """
    control = control or Control({}, (), {})
    lines = [_header(name, {source[0]: source[1]}, {"m_axis": sink[1]}, control.ports)]
    for signal, width in wires.items():
        lines.append(f"  logic [{8 * width - 1}:0] {signal}_tdata;\n")
        lines.append("  logic " + ", ".join(f"{signal}_{pin}" for pin in _PINS[1:]) + ";\n")
    lines += [f"  logic {wire};\n" for wire in control.wires]
    for instance in instances:
        ports = ["    .clk", "    .rst_n"]
        for prefix in (*instance.inputs, *instance.outputs):
            signal = bindings[instance.name][prefix]
            ports += [f"    .{prefix}_{pin}({signal}_{pin})" for pin in _PINS]
        for pin in instance.pins:
            tied = control.joined.get(pin)
            ports.append(f"    .{pin}" if tied is None else f"    .{pin}({{{', '.join(tied)}}})")
        lines.append(f"\n  {instance.name} {instance.name}_node (\n" + ",\n".join(ports) + "\n  );\n")
    lines.append("\n")
    for pin in _PINS:
        left, right = f"m_axis_{pin}", f"{sink[0]}_{pin}"
        lines.append(f"  assign {right} = {left};\n" if pin == "tready" else f"  assign {left} = {right};\n")
    return "".join([*lines, "\nendmodule\n"])
