"""What an op means: schema, numpy reference, ONNX body, qonnx class, kernel, hardware cost; one stem per op.

Importing this package makes the domains psaflow and psaflow.hw known to qonnx.
"""

from qonnx.custom_op.registry import add_domain_alias

from custom_ops.channel_lut import ChannelLUT
from custom_ops.functions import DOMAINS, OPS, add_functions, check_node
from custom_ops.grid_lerp import GridLerp
from custom_ops.lerp_psa import LerpPSA
from custom_ops.linear import Linear
from custom_ops.linear_sum import LinearSum
from custom_ops.op import DOMAIN, HW_DOMAIN, VERSION, Op, OpError
from custom_ops.patch_linear import PatchLinear
from custom_ops.psa import PSA
from custom_ops.requant import Requant
from custom_ops.token_linear import TokenLinear
from custom_ops.token_mean import TokenMean

__all__ = [
    "DOMAIN",
    "DOMAINS",
    "HW_DOMAIN",
    "OPS",
    "PSA",
    "VERSION",
    "ChannelLUT",
    "GridLerp",
    "LerpPSA",
    "Linear",
    "LinearSum",
    "Op",
    "OpError",
    "PatchLinear",
    "Requant",
    "TokenLinear",
    "TokenMean",
    "add_functions",
    "check_node",
]  # fmt: skip

add_domain_alias(DOMAIN, "custom_ops")
add_domain_alias(HW_DOMAIN, "custom_ops.hw")
