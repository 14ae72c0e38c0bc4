"""The public surface: what `rlkit` offers, and that README and docs use nothing else."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rlkit

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "agents").glob("*/README.md"))]
IMPORT = re.compile(r"^\s*(?:from (rlkit[\w.]*) import (.+)|import (rlkit[\w.]+))$", re.MULTILINE)


@pytest.mark.parametrize("name", rlkit.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(rlkit, name) is not None
    assert name in dir(rlkit)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(rlkit.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(seen) == sorted(rlkit.__all__)
    for name, module in seen.items():
        assert getattr(rlkit, name) is getattr(sys.modules[str(module)], name), name


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'rlkit' has no attribute 'nothing'"):
        rlkit.nothing  # noqa: B018


def test_importing_rlkit_imports_no_torch() -> None:
    code = "import rlkit, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_import_public_names_alone(page: Path) -> None:
    for module, names, plain in IMPORT.findall(page.read_text(encoding="utf-8")):
        assert module in ("rlkit", "rlkit.testing"), f"{page}: {module or plain} is not public"
        if module == "rlkit":
            assert {name.strip() for name in names.split(",")} <= set(rlkit.__all__), f"{page}: {names}"
