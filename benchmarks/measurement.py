"""What a benchmark writes down besides its numbers: machine, versions, date; and the file, whole or not at all."""

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any


def machine() -> str:
    """The processor's model and the number of cores this process may use, e.g. ``"AMD EPYC, 2 cores"``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}, {cores} core{'s' if cores != 1 else ''}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of the installed distributions named."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """One line a key, so that a diff shows what changed; through a temporary file, so that a reader never sees half."""
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(f"{{\n{lines}\n}}\n")
    temporary.replace(path)
