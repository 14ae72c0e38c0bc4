"""The notebooks under docs/notebooks run from top to bottom. They need Jupyter, which the extra `notebooks` brings."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.extra]
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SCRIPT = f"#!{sys.executable}\nfrom rlkit.start import main\nmain()\n"  # the command `rlkit`, of this checkout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebooks`: run `make test-extras`")
    nbformat: Any = pytest.importorskip("nbformat")
    place = tmp_path / "docs" / "notebooks"
    place.mkdir(parents=True)
    (place.parent / "results").symlink_to(ROOT / "docs" / "results")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rlkit").write_text(SCRIPT)
    (tmp_path / "bin" / "rlkit").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    book = nbformat.read(notebook, as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "committed without outputs"
    nbclient.NotebookClient(book, timeout=170, resources={"metadata": {"path": str(place)}}).execute()
    text = nbformat.writes(book)
    assert "Error:" not in text
    if "rlkit.train(" in text:
        assert "<progress value" in text, "no progress under the cell"
    if notebook.stem == "first_run":
        assert "score: 0.99" in text
    shutil.rmtree(place)
