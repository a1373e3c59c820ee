"""From 4_dataflow.onnx to SystemVerilog, its simulation and a bitstream."""
