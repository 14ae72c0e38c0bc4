"""Devices by name, arrays as tensors on them, and the threads of torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of this name. Raises ConfigError if this machine does not have it."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    device = torch.device(name)
    missing = {"cuda": not cuda or (device.index or 0) >= torch.cuda.device_count(), "mps": not mps, "cpu": False}
    if missing[device.type]:
        raise ConfigError(f"train.device: torch finds no {name!r} on this machine; use 'auto' or 'cpu' (--device cpu)")
    return device


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def crowded(threads: int, jobs: int) -> Iterator[str]:
    """A note if `jobs` runs at a time of several threads each need more cores than there are."""
    if threads > 1 and threads * jobs > cores():
        runs = "" if jobs == 1 else f" of each of {jobs} runs (--jobs)"
        yield (
            f"{threads} threads (train.threads){runs}, but {cores()} cores: threads that share cores wait for each "
            "other, which can take several times as long"
        )


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """`array` on `device`; shares memory on the CPU."""
    tensor = torch.from_numpy(array)
    # a copy from pageable memory would wait for all work queued on the GPU
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@contextmanager
def threads_of_torch(number: int) -> Iterator[None]:
    """Within it torch computes with this number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
