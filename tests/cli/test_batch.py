"""Many runs from one command."""

from __future__ import annotations

import os

import pytest

from helpers.command import call
from rlkit import devices
from rlkit.cli.batch import executor_of
from rlkit.devices import cores, crowded


def test_the_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_more_threads_than_cores_are_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 4)
    assert [list(crowded(*each)) for each in ((4, 1), (2, 2), (1, 8))] == [[], [], []]
    assert "2 threads (train.threads) of each of 3 runs (--jobs), but 4 cores" in "".join(crowded(2, 3))
    executor_of(2, 8, 3, None, 2.0)
    assert "each of 3 runs" in " ".join(capsys.readouterr().out.split())
    executor_of(2, 2, 3, None, 2.0)  # two are left to run
    assert not capsys.readouterr().out
    checked = " ".join(call("check", "cartpole", "--set", "train.threads=5").output.split())
    assert "5 threads (train.threads), but 4 cores" in checked
