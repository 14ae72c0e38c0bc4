"""Fixtures that several test files share."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from torch.utils.hooks import RemovableHandle

from helpers.command import call
from helpers.here import run_here
from helpers.result_files import ResultWriter
from helpers.vectors import Vectors

hypothesis.settings.register_profile("rlkit", deadline=None)  # times depend on what else the machine does
hypothesis.settings.load_profile("rlkit")

SMALL = """
[env]
name = "gymnasium"
id = "CartPole-v1"
[agent]
name = "dqn"
learning_starts = 50
[train]
steps = 400
log_every = 100
[evaluation]
every = 200
episodes = 2
final_episodes = 5
"""


@pytest.fixture(autouse=True, scope="session")
def _short_measurements() -> None:
    """`rlkit check` measures the speed of learning for a moment only."""
    sys.modules["rlkit.cli.check"].MEASURED = 0.3  # type: ignore[attr-defined]
    sys.modules["rlkit.cli.train"].MEASURED = 0.3  # type: ignore[attr-defined]


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What rlkit keeps for an account (the key of trackers) is not written into the home of whoever runs the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file: DQN in CartPole, 400 steps."""
    path = tmp_path_factory.mktemp("configs") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def small_training(small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of a run of it with seed 3, and what the command printed."""
    run = tmp_path_factory.mktemp("small") / "run"
    done = call("train", small_config, "--run", run, "--seed", 3)
    assert done.exit_code == 0, done.output
    return run, done.output


@pytest.fixture(scope="session")
def small_run(small_training: tuple[Path, str]) -> Path:
    """The directory of that run; a test that changes it works on a copy."""
    return small_training[0]


RANDOM = """
[env]
name = "gymnasium"
id = "CartPole-v1"
[agent]
name = "random"
[train]
steps = 200
log_every = 50
[evaluation]
every = 100
episodes = 2
final_episodes = 3
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with small.toml, random play; processes import the sources of this checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    (tmp_path / "small.toml").write_text(RANDOM)
    return tmp_path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch)


@pytest.fixture
def write_result(tmp_path: Path) -> ResultWriter:
    """Writes result files into the test's folder."""
    return ResultWriter(tmp_path)


@pytest.fixture
def vectors() -> Iterator[Vectors]:
    """Makes vectors of environments, and closes them, twice, whatever the test does."""
    before = set(multiprocessing.active_children())
    made = Vectors()
    yield made
    for environments in made.made:
        environments.close()
        environments.close()
    assert set(multiprocessing.active_children()) <= before, "worker processes are left over"


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many of the forward hooks that the test's networks got are still there."""
    handles: list[RemovableHandle] = []
    for name in ("register_forward_hook", "register_forward_pre_hook"):
        register = getattr(torch.nn.Module, name)

        def registered(*arguments: Any, register: Any = register, **options: Any) -> RemovableHandle:
            handles.append(register(*arguments, **options))
            return handles[-1]

        monkeypatch.setattr(torch.nn.Module, name, registered)

    def left() -> int:
        assert handles, "no hook was ever registered"
        return sum(handle.id in (handle.hooks_dict_ref() or {}) for handle in handles)

    return left


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes with a core each, and a head without any; at most two processes compute."""
    pytest.importorskip("ray", reason="needs the extra `cluster`: run `make test-extras`")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.workers = [made.add_node(num_cpus=1), made.add_node(num_cpus=1)]
    yield made
    made.shutdown()
