"""Checks that something fits into memory before it is allocated, so that the kernel does not kill the run later."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from rlkit.errors import CapacityError

GIB = 2**30
ALLOCATION = ("can't allocate memory", "Storage size calculation overflowed")  # of torch on the host
LARGE = 2**28  # bytes of a layer from which its memory is checked
COPIES = 5  # of its weights: themselves, the gradient, two moments of Adam, and a target network
ROWS = 64  # of a minibatch, of which its outputs and their gradients are in memory
RESERVED = GIB  # of an accelerator, for networks, activations and libraries


def require_memory(num_bytes: int, what: str, device: torch.device, capacity: int | None = None) -> None:
    """Raises CapacityError if `num_bytes` for `what` exceed the memory that is available on `device` now.

    The message says both numbers and how much would fit, as a capacity if `capacity` is given. Memory that is
    allocated but not yet written to counts as available, so check everything that will be used in one call.
    """
    available = available_memory(device)
    if num_bytes <= available:
        return
    share = available / num_bytes
    fits = f"{share:.0%} of it" if capacity is None else f"a capacity of {int(capacity * share):,}"
    raise CapacityError(
        f"{what} needs {num_bytes / GIB:.2f} GiB, but {available / GIB:.2f} GiB are available on {device}: {fits} fits"
    )


def require_layer(inputs: int, outputs: int) -> None:
    """Raises CapacityError for a fully connected layer that cannot be trained in the memory of the host."""
    if (size := 4 * outputs * (COPIES * inputs + 2 * ROWS)) > LARGE:
        require_memory(size, f"training a layer of {inputs:,} inputs and {outputs:,} outputs", torch.device("cpu"))


@contextmanager
def naming_memory(what: str) -> Iterator[None]:
    """Turns a failed allocation into a CapacityError. what: what the memory is for, the beginning of the message."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not no_memory(error):
            raise
        first = str(error).strip().splitlines() or ["out of memory"]
        raise CapacityError(f"{what} needs more memory than is available: {first[0]}") from error


def no_memory(error: BaseException) -> bool:
    """Whether an error means that memory could not be allocated, on the host or on an accelerator."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in ALLOCATION)


def size_text(num_bytes: int) -> str:
    """The size in MiB, for display, with a note if this machine has less available."""
    available = available_memory(torch.device("cpu"))
    lacks = f", more than the {available / 2**20:,.1f} MiB available here" if num_bytes > available else ""
    return f"{num_bytes / 2**20:,.1f} MiB{lacks}"


def placed(num_bytes: int, device: torch.device) -> torch.device:
    """The device for a replay's frames: `device`, or the host if `device` is too small."""
    fits = device.type == "cpu" or num_bytes + RESERVED <= available_memory(device)
    return device if fits else torch.device("cpu")


def available_memory(device: torch.device) -> int:
    """Bytes that are available on `device`; on the host, under the tightest limit."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        # memory that torch's allocator has reserved is available to this process
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    groups = group_memory(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return min([int(psutil.virtual_memory().available), *groups, *_address_space()])


def _address_space() -> Iterator[int]:
    """Bytes left under the limit of the process (`ulimit -v`), if there is one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield max(0, limit - psutil.Process().memory_info().vms)


def group_memory(membership: Path, root: Path) -> Iterator[int]:
    """Bytes left under each memory limit of the process's control groups and their parents (Linux, versions 1, 2)."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            top, limit, usage, prefix = root, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top, limit, usage, prefix = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        group = top / path.strip("/")
        # in a container the path may be the host's, and only its top is visible
        for folder in (group, *group.parents) if group != top else (top,):
            left = _left(folder / limit, folder / usage, folder / "memory.stat", prefix)
            if left is not None:
                yield left
            if folder == top:
                break


def _left(limit: Path, usage: Path, stat: Path, prefix: str) -> int | None:
    """Bytes left in one group; cached files count as free. None if there is no limit."""
    try:
        allowed = int(limit.read_text())  # "max" is not a number
        used = int(usage.read_text())
        numbers = dict(line.split()[:2] for line in stat.read_text().splitlines())
    except (OSError, ValueError):
        return None
    cached = sum(int(numbers.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
    return max(0, allowed - used + cached)
