"""Models with learnable one-dimensional functions, their training, quantization and export."""
