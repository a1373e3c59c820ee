"""From emitted SystemVerilog to a bitstream: ECP5 with open tools (ecp5.py, on the netlists of netlist.py)."""
