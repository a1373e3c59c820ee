"""The RTL backends of our ops inside FINN: each writes one module of ../rtl/ with its memories, and a wrapper with FINN's port names.

Importing this package registers them; it needs finn-plus (`make finn`).
"""

from finn.custom_op.fpgadataflow.rtl import register_custom_op

from accel.finn.psa_lut_rtl import PSALUT_rtl
from accel.finn.psa_requant_rtl import PSARequant_rtl
from accel.finn.psa_token_mix_rtl import PSATokenMix_rtl

__all__ = ["BACKENDS", "PSALUT_rtl", "PSARequant_rtl", "PSATokenMix_rtl"]

BACKENDS = {backend.__name__: backend for backend in (PSALUT_rtl, PSARequant_rtl, PSATokenMix_rtl)}
for backend in BACKENDS.values():
    register_custom_op(backend)
