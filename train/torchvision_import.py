"""torchvision beside a CPU build of torch.

torchvision's compiled library does not load there, and its Python part then asks for two operators by name that only
the library defines; declaring their schemas first lets the Python part import.
"""

from __future__ import annotations

import torch

_DECLARED = []  # keeps the libraries alive
for _schema in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):  # fmt: skip
    if not hasattr(torch.ops.torchvision, _schema.split("(")[0]):
        _library = torch.library.Library("torchvision", "FRAGMENT")
        _library.define(_schema)
        _DECLARED.append(_library)

from torchvision import datasets  # noqa: E402

__all__ = ["datasets"]
