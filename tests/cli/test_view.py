"""`rlkit view`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path


def test_view_serves_the_scalars(small_run: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "rlkit.cli", "view", str(small_run.parent), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "http://" in line)
        address = line.split("http://")[1].split("/")[0]
        asked = f"http://{address}/data/plugin/scalars/tags"
        for _ in range(100):
            with urllib.request.urlopen(asked) as answer:
                tags = json.load(answer)
            if tags.get("run/tensorboard"):
                break
        assert "episode/return" in tags["run/tensorboard"]
    finally:
        process.terminate()
        process.wait(10)
