"""Installing the package compiles the onnxruntime kernels, and succeeds without a compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build_py(tmp_path, **environment):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    environment = {**os.environ, "PSAFLOW_CACHE": str(tmp_path / "cache"), **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_installing_compiles_the_library_that_sessions_take(tmp_path, monkeypatch):
    done = build_py(tmp_path)
    assert done.returncode == 0, done.stderr
    (built,) = (tmp_path / "cache").glob("kernels-*.so")
    assert f"onnxruntime kernels: {built}" in done.stdout
    code = "from custom_ops.kernels import library; print(library())"
    environment = {**os.environ, "PSAFLOW_CACHE": str(tmp_path / "cache")}
    taken = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert taken.stdout.strip() == str(built)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_installing_without_a_compiler_says_so_and_goes_on(tmp_path):
    done = build_py(tmp_path, CXX="no-such-compiler")
    assert done.returncode == 0
    assert "no onnxruntime kernels: no C++ compiler 'no-such-compiler'" in done.stderr
    assert not (tmp_path / "cache").exists()
