"""Compiles the onnxruntime kernels when the package is installed, so that the first session need not wait for them."""

import importlib.util
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

KERNELS = Path(__file__).parent / "custom_ops" / "kernels" / "__init__.py"


class BuildPy(build_py):
    """Also fills the cache of compiled kernels; without a compiler function bodies serve, and the first use says so."""

    def run(self) -> None:
        super().run()
        spec = importlib.util.spec_from_file_location("psaflow_kernels", KERNELS)  # by path: the package itself needs onnx
        kernels = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(kernels)
        try:
            print(f"onnxruntime kernels: {kernels.library()}")
        except kernels.KernelError as error:
            print(f"no onnxruntime kernels: {error}", file=sys.stderr)


setup(cmdclass={"build_py": BuildPy})
