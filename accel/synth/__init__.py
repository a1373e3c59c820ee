"""Emitted SystemVerilog to bitstream: ECP5 with open tools (ecp5.py, on the netlists of netlist.py)."""
