"""What the tests of the kernels run under when the library has sanitizers."""

import os

import onnxruntime
import pytest


@pytest.fixture(autouse=True, scope="session")
def every_buffer_its_own():
    """Under sanitizers: tensors that the system allocates, so that an access beside one is seen."""
    if os.environ.get("PSAFLOW_SANITIZE") != "1":
        yield
        return

    def options():
        made = plain()
        made.enable_cpu_mem_arena = made.enable_mem_pattern = False
        return made

    plain = onnxruntime.SessionOptions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "SessionOptions", options)
        yield
