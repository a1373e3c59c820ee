"""C sources of the training kernels."""
