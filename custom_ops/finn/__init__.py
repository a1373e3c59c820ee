"""Our hardware ops inside FINN, in FINN's own domain: what finn-plus has no exact node for.

Importing this package registers them; it needs finn-plus (`make finn`). Each class here answers FINN for one op (shapes, stream widths,
cycles, resources, values in Python); its RTL backend, with the same name and `_rtl` behind it, is in accel/finn/.
"""

from finn.custom_op.fpgadataflow import register_custom_op

from custom_ops.finn.psa_lut import PSALUT
from custom_ops.finn.psa_requant import PSARequant
from custom_ops.finn.psa_token_mix import PSATokenMix

__all__ = ["OPS", "PSALUT", "PSARequant", "PSATokenMix"]

OPS = {op.__name__: op for op in (PSALUT, PSARequant, PSATokenMix)}
for op in OPS.values():
    register_custom_op(op)
