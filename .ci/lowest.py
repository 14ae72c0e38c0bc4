"""Prints constraints that hold every stated dependency at its lower bound, read from pyproject.toml.

All other packages keep the version of constraints.txt, so that a failure means a bound. Two exceptions: torch stays at
the version of constraints.txt (a second copy of it is gigabytes), and pydantic-core follows pydantic, which names the
one version that it works with.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEPT = {"torch"}
FREE = {"pydantic-core"}


def normalised(name: str) -> str:
    """Package names are equal if they are so up to case and the kind of separator (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lowest = {}
    needed = [requirement for extra in ("worlds", "report", "video", "look") for requirement in extras[extra]]
    for requirement in [*project["dependencies"], *needed]:
        name, version = re.fullmatch(r"([\w.-]+)>=([\w.]+)(?:,.*)?", requirement).groups()  # type: ignore[union-attr]
        lowest[normalised(name)] = version
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, version = line.split("==")
        if normalised(name) in FREE:
            continue
        if normalised(name) in lowest and normalised(name) not in KEPT:
            version = lowest[normalised(name)]
        print(f"{normalised(name)}=={version}")


if __name__ == "__main__":
    main()
