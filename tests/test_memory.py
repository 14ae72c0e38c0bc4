"""What counts as available, and how a refusal reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from helpers.command import call
from rlkit import memory
from rlkit.errors import CapacityError
from rlkit.memory import GIB, RESERVED, available_memory, placed, require_memory, size_text
from rlkit.nn.layers import LayerFactory

CPU = torch.device("cpu")


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def limits(tmp_path: Path, membership: str) -> list[int]:
    (tmp_path / "membership").write_text(membership)
    return list(memory.group_memory(tmp_path / "membership", tmp_path / "root"))


def test_version_2_counts_every_group_up_to_the_top(tmp_path: Path) -> None:
    top = tmp_path / "root"
    write(
        top / "a" / "b",
        memory__max=1000,
        memory__current=700,
        memory__stat="anon 500\nactive_file 90\ninactive_file 60",
    )
    write(top / "a", memory__max=800, memory__current=750, memory__stat="active_file 0\ninactive_file 10")
    write(top, memory__max="max", memory__current=5, memory__stat="active_file 0")
    assert limits(tmp_path, "0::/a/b\n") == [450, 60]


def test_version_2_where_only_the_top_is_visible(tmp_path: Path) -> None:
    write(tmp_path / "root", memory__max=1000, memory__current=1400, memory__stat="inactive_file 10")
    assert limits(tmp_path, "0::/docker/1234\n") == [0]


def test_version_1(tmp_path: Path) -> None:
    group = {
        "memory__usage_in_bytes": 300,
        "memory__stat": "inactive_file 9\ntotal_inactive_file 50\ntotal_active_file 1",
    }
    write(tmp_path / "root" / "memory" / "job", memory__limit_in_bytes=1000, **group)
    write(tmp_path / "root" / "memory", memory__limit_in_bytes=2**63 - 4096, **group)
    assert limits(tmp_path, "3:cpu,cpuacct:/job\n2:memory:/job\n1:name=systemd:/\n")[0] == 751


def test_no_groups(tmp_path: Path) -> None:
    assert list(memory.group_memory(tmp_path / "missing", tmp_path)) == []
    assert 0 < available_memory(CPU) <= psutil.virtual_memory().total


def test_the_tightest_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "group_memory", lambda *_: iter([3 * 2**20, 2**20]))
    assert available_memory(CPU) == 2**20


def test_a_refusal_has_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 3 * 2**30)
    require_memory(3 * 2**30, "a replay", CPU)
    with pytest.raises(
        CapacityError, match=r"^a table needs 4.00 GiB, but 3.00 GiB are available on cpu: 75% of it fits$"
    ):
        require_memory(4 * 2**30, "a table", CPU)
    with pytest.raises(CapacityError, match="a capacity of 750,000 fits"):
        require_memory(4 * 2**30, "a replay", CPU, capacity=1_000_000)


def test_frames_stay_on_the_host_where_a_device_has_no_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(memory, "available_memory", lambda device: 8 * GIB)
    assert placed(8 * GIB - RESERVED, cuda) == cuda
    assert placed(8 * GIB - RESERVED + 1, cuda) == CPU
    assert placed(80 * GIB, CPU) == CPU  # refused later, with the numbers


def test_a_limit_of_the_process_itself_counts() -> None:
    code = (
        "import resource, torch; from rlkit.memory import available_memory;"
        "before = available_memory(torch.device('cpu'));"
        "resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, resource.getrlimit(resource.RLIMIT_AS)[1]));"
        "print(before, available_memory(torch.device('cpu')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, limited = map(int, done.stdout.split())
    assert 0 < limited < min(before, 8 * 2**30)


def test_a_size_says_where_it_is_too_much() -> None:
    assert size_text(3 * 2**19) == "1.5 MiB"
    assert "more than the" in size_text(10**15)


@pytest.mark.parametrize("size", [10**15, 2**62])
def test_an_allocation_that_fails_is_named(size: int) -> None:
    """torch raises RuntimeError for it, which would be a traceback."""
    with pytest.raises(CapacityError, match=r"^it needs more memory than is available: "), memory.naming_memory("it"):
        torch.empty(size)
    with pytest.raises(RuntimeError, match="another"), memory.naming_memory("it"):
        raise RuntimeError("another")


def test_a_network_that_exceeds_the_memory_is_refused_before_it_is_allocated() -> None:
    for key in ("network.hidden=[1000000, 1000000]", "bonus.outputs=100000000000"):
        named = ["--set", "agent.bonus.type=rnd"] if "outputs" in key else []
        done = call("check", "cartpole", *named, "--set", f"agent.{key}")
        assert done.exit_code == 2
        assert "training a layer of" in done.output
        assert "Traceback" not in done.output


def test_the_memory_of_a_layer_includes_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights alone fit; with the gradient, the moments and the target network the kernel would kill the run."""
    monkeypatch.setattr(memory, "available_memory", lambda device: 2**30)
    with pytest.raises(CapacityError, match=r"needs 2\.56 GiB, but 1\.00 GiB are available"):
        LayerFactory().output(2**10, 2**17)
