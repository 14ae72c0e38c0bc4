"""README and docs say what is so: every command in them runs, and every table and picture is what the data give.

A new document is covered by being there. A command of a new kind fails here until `Reader` knows how to run it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from rlkit.cli import main
from rlkit.cli.play import find_run
from rlkit.config.load import load, parse_override
from rlkit.report import scores
from rlkit.runs.directory import RunDirectory
from rlkit.runs.launcher import make_jobs, parse_seeds, plan

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "agents").rglob("*.md")),
             ROOT / "CONTRIBUTING.md"]  # fmt: skip
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NO_COMMAND = {"python", "toml", "json", "text", "mermaid"}
TINY = {  # whatever a command's budget is
    "train.steps": 200, "train.checkpoint_every": 100, "train.log_every": 100,
    "evaluation.every": 100, "evaluation.episodes": 1, "evaluation.final_episodes": 2,
}  # fmt: skip
TINY_WHERE_THERE = {"learning_starts": 50, "replay_capacity": 2000, "max_episode_steps": 100}
TINY_ATARI = {"env.protocol": "custom", "env.max_frames": 400}


def commands(document: Path) -> list[list[str]]:
    """The words of each command line in the document's code blocks; comments left out, continued lines joined.

    A block without a language and without one line that begins with a known program (a formula, a tree) holds none.
    """
    found = []
    for language, block in BLOCK.findall(document.read_text()):
        lines = block.replace("\\\n", " ").splitlines() if language not in NO_COMMAND else []
        split = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
        if language or any(words and hasattr(Reader, method(words[0])) for words in split):
            found += [words for words in split if words]
    return found


def method(program: str) -> str:
    """ ".venv/bin/python3" → "type_python" """
    return f"type_{Path(program).name.rstrip('0123456789.')}"


def files(document: Path) -> Iterator[tuple[str, str]]:
    """(name, text) of each block that begins with a comment naming a file, like "# lake.toml"."""
    for _, block in BLOCK.findall(document.read_text()):
        if match := re.match(r"# ([\w.-]+\.(?:toml|py))\n", block):
            yield match[1], block


def snippets(document: Path) -> list[str]:
    """The blocks of Python that are no file, with a small budget where they train."""
    blocks = [block for language, block in BLOCK.findall(document.read_text()) if language == "python"]
    return [block.replace("20_000", "200") for block in blocks if not re.match(r"# [\w.-]+\.py\n", block)]


class Reader:
    """A reader of one document who types in its commands, one after the other, with little patience."""

    def run(self, words: list[str]) -> None:
        act = getattr(self, method(words[0]), None)
        assert act is not None, f"no test knows how to run {shlex.join(words)!r}"
        act(words[1:])

    def type_make(self, words: list[str]) -> None:
        for target in (word for word in words if "=" not in word):
            done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

    def type_pip(self, words: list[str]) -> None:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = {extra for word in words for group in re.findall(r"\[(.*?)\]", word) for extra in group.split(",")}
        assert named <= set(extras)
        assert "constraints.txt" not in words or (ROOT / "constraints.txt").exists()

    def type_uv(self, words: list[str]) -> None:
        self.type_pip(words)

    def type_conda(self, words: list[str]) -> None:
        """Not run: its packages are not those of pip."""
        assert words[0] in ("create", "activate")

    def type_docker(self, words: list[str]) -> None:
        """Not run; tests/test_repository.py checks the file."""
        assert (ROOT / "Dockerfile").exists()

    def type_python(self, words: list[str]) -> None:
        """A script of the repository, with flags that it has; other libraries that it needs may not be installed."""
        if words[:2] == ["-m", "venv"]:
            return
        script = (ROOT / words[0]).read_text()
        for flag in (word for word in words if word.startswith("--")):
            assert f'"{flag}"' in script, f"{words[0]} has no {flag}"

    def type_rlkit(self, words: list[str]) -> None:
        getattr(self, f"_{words[0]}", self._as_it_stands)(words)

    def _as_it_stands(self, words: list[str]) -> None:
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"

    def _train(self, words: list[str]) -> None:
        """With a tiny budget, and one seed for several; the files that are there must be those of the whole command."""
        options = main.commands["train"].make_context("train", list(words[1:])).params  # refuses what is no flag
        tiny = self._tiny(options["config"], dict(map(parse_override, options["settings"])))
        out = ["train", options["config"]]
        for name in ("run", "seed", "device"):
            out += [] if options[name] is None else [f"--{name}", str(options[name])]
        if options["seeds"] is not None:  # tests/test_many.py runs the processes
            overrides = dict(map(parse_override, options["settings"]))
            plan(make_jobs(options["config"], overrides, parse_seeds(options["seeds"]), Path("none"), options["data"]))
            out += ["--seed", str(parse_seeds(options["seeds"])[0])]
        for setting in (*options["settings"], *(f"{key}={value}" for key, value in tiny.items())):
            out += ["--set", setting]
        self._as_it_stands(out)

    def _tiny(self, name: str, overrides: dict[str, Any]) -> dict[str, Any]:
        config = load(name, overrides)
        tiny = {**TINY, "train.steps": TINY["train.steps"] // config.train.num_envs * config.train.num_envs}
        for table in ("agent", "env"):
            values = config.tables()[table]  # without what is left out
            tiny |= {f"{table}.{key}": value for key, value in TINY_WHERE_THERE.items() if key in values}
        return tiny | (TINY_ATARI if config.env.name == "atari" else {})

    def _resume(self, words: list[str]) -> None:
        """A run that was cut off after its first checkpoint; one that is to be extended stays as it is."""
        run = RunDirectory.open(Path(words[1]))
        if "--steps" in words:
            steps = run.checkpoints.steps()[-1] + 50
            words = [*words[: words.index("--steps")], "--steps", str(steps)]
        else:
            (run.path / "result.json").unlink()
            shutil.rmtree(run.checkpoints.folder(run.checkpoints.steps()[-1]))
        self._as_it_stands(words)

    def _evaluate(self, words: list[str]) -> None:
        self._as_it_stands([*words, "--episodes", "2", "--out", "evaluation.json"])

    def _play(self, words: list[str]) -> None:
        """Up to the window; tests/cli/test_play.py opens one."""
        options = main.commands["play"].make_context("play", words[1:]).params
        find_run(options["run"])

    def _explain(self, words: list[str]) -> None:
        self._as_it_stands([*words, "--frames", "1", "--steps", "3"])

    def _attack(self, words: list[str]) -> None:
        self._as_it_stands([*words, "--episodes", "1", "--steps", "20"])

    def _probe(self, words: list[str]) -> None:
        self._as_it_stands([*words, "--episodes", "6", "--samples", "60"])

    def _view(self, words: list[str]) -> None:
        """Up to the start of the server; tests/test_cli.py starts it."""
        main.commands["view"].make_context("view", words[1:])
        assert all(Path(word).is_dir() for word in words[1:] if not word.startswith("-"))

    def _sweep(self, words: list[str]) -> None:
        from rlkit.runs.sweep import load_sweep

        main.commands["sweep"].make_context("sweep", list(words[1:]))
        sweep = load_sweep(Path(words[1]))
        for config in sweep.configs():
            for settings in sweep.settings():
                load(config, settings)

    def _tune(self, words: list[str]) -> None:
        """Up to the first trial; the file is checked with every bound and every choice."""
        pytest.importorskip("optuna", reason="needs the extra `tune`: run `make install`")
        from rlkit.runs.tuning.search import Search

        options = main.commands["tune"].make_context("tune", list(words[1:])).params
        assert Search.opened(options["sweep_file"], options["storage"]).study.wanted


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a clone holds that commands read, to work in."""
    for name in ("docs", "pretrained", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path)]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(scores, "RESAMPLES", 50)
    return tmp_path


def often(documents: list[Path]) -> list[Any]:
    """The documents as parameters; those that take longest are slow."""
    slow = {
        f"docs/{page}.md" for page in ("experiments", "exploration", "gallery", "hdqn", "look-inside", "sparse-world")
    }
    return [
        pytest.param(
            path, id=name(path), marks=[pytest.mark.slow] if "results" in path.parts or name(path) in slow else []
        )
        for path in documents
    ]


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", often(DOCUMENTS))
def test_every_command_runs(document: Path, desk: Path) -> None:
    for file, text in files(document):
        (desk / file).write_text(text)
    reader = Reader()
    for words in commands(document):
        reader.run(words)


@pytest.mark.slow
@pytest.mark.parametrize("document", [pytest.param(path, id=name(path)) for path in DOCUMENTS if snippets(path)])
def test_every_snippet_runs(document: Path, desk: Path) -> None:
    """After the commands, whose runs and files it may need."""
    test_every_command_runs(document, desk)
    for number, text in enumerate(snippets(document)):
        exec(compile(text, f"{name(document)}, snippet {number}", "exec"), {"__name__": "snippet"})


def test_readme_has_commands_of_each_kind() -> None:
    """Else the test above could pass by finding nothing."""
    found = {" ".join(words[:2]) for words in commands(ROOT / "README.md")}
    assert {"make train", "make test", "rlkit train", "rlkit resume", "rlkit compare", "rlkit plot"} <= found


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


redraw = load_script(ROOT / "docs" / "redraw.py")
TABLES = [path for path in DOCUMENTS if redraw.TABLE.search(path.read_text())]
PICTURES = [(path, options) for path in DOCUMENTS for options in redraw.plots(path.read_text())]


def large(document: Path) -> bool:
    """Whether a page's tables take seconds to make."""
    return document.stem in ("exploration", "index", "normalisation", "hdqn") and "results" in document.parts


@pytest.mark.parametrize(
    "document",
    [pytest.param(path, id=name(path), marks=[pytest.mark.slow] if large(path) else []) for path in TABLES],
)
def test_tables_are_what_the_data_give(document: Path) -> None:
    assert document.read_text() == redraw.redrawn(document.read_text()), "run `make results`"


@pytest.mark.parametrize(("document", "options"), PICTURES)
def test_pictures_are_what_the_data_give(document: Path, options: str) -> None:
    from PIL import Image

    drawn, paths = redraw.picture(options)
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.info["Description"] == drawn.fingerprint, f"{path}: run `make results`"
        else:
            assert drawn.fingerprint in path.read_text(), f"{path}: run `make results`"


def test_the_page_of_worlds_is_what_the_data_give() -> None:
    """Its tables are tested above; here the summary, the sections and the picture."""
    from PIL import Image

    worlds = load_script(ROOT / "docs" / "worlds.py")
    text = worlds.PAGE.read_text()
    assert redraw.TABLE.sub(r"\1\4", text) == redraw.TABLE.sub(r"\1\4", worlds.page(text)), "run `make results`"
    with Image.open(worlds.IMAGE) as image:
        assert image.info["Description"] == worlds.picture().fingerprint, "run `make results`"


def test_result_files_are_small_and_say_what_a_reader_must_know() -> None:
    paths = list((ROOT / "docs" / "results" / "data").rglob("*-seed*.json"))
    assert paths
    for path in paths:
        text = path.read_text()
        assert len(text) <= 20_000, path
        for key in ("versions", "machine", "date", "protocol", "curve", "final", "seed"):
            assert f'"{key}"' in text, f"{path} lacks {key}"


def test_the_gallery_has_every_policy_and_small_files() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text()
    sizes = {}
    for run in sorted((ROOT / "pretrained").iterdir()):
        assert f"rlkit play {run.name}\n" in text
        assert f"(images/gallery/{run.name}.gif)" in text, "record it with docs/gallery.py"
        assert (ROOT / "docs" / "images" / "gallery" / f"{run.name}.gif").stat().st_size <= 1_000_000
        assert f"<!-- policy: {run.name} -->\n" in text
        sizes[run.name] = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    assert max(sizes.values()) <= 3_000_000
    assert sum(sizes.values()) <= 20_000_000
    assert load_script(ROOT / "docs" / "gallery.py").page(text) == text, "run `make results`"


def test_the_site_shows_every_page() -> None:
    """`make docs` says so too, but only later."""
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.stem == "index" or re.search(rf"^{page.stem}$", index, re.MULTILINE), (
            f"{page.name}: not in index.md"
        )


def test_pictures_that_documents_show_exist() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document}: {target}"
