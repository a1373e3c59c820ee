"""Several processes under torchrun (one per GPU, or several on CPUs): who am I, and what all of us agree on.

Without torchrun's environment there is one process and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes, if torchrun started any; yields this process' own device."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0; the first one writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait() -> None:
    """Go on when all processes are here."""
    if world() > 1:
        dist.barrier()


def mean(value: Tensor) -> Tensor:
    """The mean over all processes, the same in each."""
    if world() > 1:
        value = value.clone()
        dist.all_reduce(value)
        value /= world()
    return value


def distributed(model: nn.Module) -> nn.Module:
    """`model` with gradients averaged over all processes."""
    return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False) if world() > 1 else model


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """(mean, biased variance, rows) of x [rows, C] over the rows of all processes, differentiable."""
    from torch.distributed.nn.functional import all_reduce  # its gradient is the sum of all processes' gradients

    rows = x.shape[0] * world()
    center = all_reduce(x.sum(0)) / rows
    variance = all_reduce(((x - center) ** 2).sum(0)) / rows
    return center, variance, rows
