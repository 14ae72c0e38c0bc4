"""What others run elsewhere, the Dockerfile and the workflow, names what the repository has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_dockerfile_copies_what_the_package_needs() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not set(copied) & set(ignored)
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in found} <= set(copied)
    assert {PROJECT["readme"], "pyproject.toml", *PROJECT["license-files"]} <= set(copied)
    assert set(re.search(r"/rlkit\[(.+?)\]", text)[1].split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_workflow_tests_every_python() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    pythons = re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.*)\]", text)[1])
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert pythons == [f"3.{minor}" for minor in range(int(low), int(high))]
    targets = re.findall(r"run: make (\S+)", text)
    makefile = (ROOT / "Makefile").read_text()
    assert "test" in targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize(
    "template", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md")), ids=lambda path: path.stem
)
def test_issue_templates_have_a_header(template: Path) -> None:
    header = template.read_text().split("---\n")[1]
    assert re.search(r"^name: .+\nabout: .+$", header, re.MULTILINE)
