"""Rules of the source tree that no type checker knows: who may know what, what a wheel holds, that files stay data."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlkit

ROOT = Path(__file__).parent.parent
PACKAGES = ("rlkit", "agents", "envs", "configs")
LOOP = ("rollout.py", "trainer.py", "evaluation.py")
AGENTS = sorted(path.name for path in (ROOT / "agents").iterdir() if (path / "__init__.py").exists())


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    """The full names of all modules imported anywhere in a file, within functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("name", LOOP)
def test_the_loop_knows_no_algorithm(name: str) -> None:
    text = (ROOT / "rlkit" / "training" / name).read_text()
    words = set(re.findall(r"[a-z]+", text.lower()))
    assert "isinstance" not in words
    assert not words & {"goal", "goals", "bonus", "bonuses"}
    assert not words & (set(AGENTS) - {"random"})
    # "random" is a word of NumPy too, and of uniformly random actions: as an agent it would be a string or an import.
    assert not re.search(r"""["']random["']|agents""", text)


def test_the_engine_imports_no_agent_and_no_environment() -> None:
    """The import contract says the same of whole chains; this fails without any tool, and within functions too."""
    for path in sources("rlkit"):
        found = {name.split(".")[0] for name in imports(ast.parse(path.read_text()))} & {"agents", "envs", "configs"}
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_the_import_contract_is_kept() -> None:
    pytest.importorskip("importlinter")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_version_is_the_same_everywhere() -> None:
    version = re.escape(rlkit.__version__)
    for name, line in {
        "pyproject.toml": f'version = "{version}"',
        "CITATION.cff": f"version: {version}",
        "CHANGELOG.md": rf"## {version}( .*)?",
    }.items():
        assert re.search(f"^{line}$", (ROOT / name).read_text(), re.MULTILINE), name


def test_files_are_data_and_never_code() -> None:
    """A checkpoint from a stranger can at worst be refused: nothing that we read may be able to run code."""
    unsafe = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in sources(*PACKAGES):
        tree = ast.parse(path.read_text())
        found = {name.split(".")[0] for name in imports(tree)} & unsafe
        assert not found, f"{path.relative_to(ROOT)} imports {found}"
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            assert keywords.get("allow_pickle", "False") == "False", where
            if ast.unparse(call.func) == "torch.load":
                assert keywords.get("weights_only") == "True", where


def test_randomness_is_passed_in() -> None:
    """Named streams only: a call to a global generator would make a run depend on what ran before it.

    Only rlkit/testing touches the global generators: to show that an environment does not read them.
    """
    legacy = r"\bnp\.random\.(?!Generator\b|SeedSequence\b|PCG64\b|default_rng\b|BitGenerator\b|Philox\b)\w+\("
    for path in sources(*PACKAGES):
        if path.is_relative_to(ROOT / "rlkit" / "testing"):
            continue
        text = path.read_text()
        assert "random" not in set(imports(ast.parse(text))), f"{path.relative_to(ROOT)} imports the module random"
        for pattern in (legacy, r"\btorch\.manual_seed\(", r"\btorch\.cuda\.manual_seed"):
            assert not re.search(pattern, text), f"{path.relative_to(ROOT)} uses a global generator: {pattern}"


def test_every_extra_is_installed_for_some_tests() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = [
        name for line in re.findall(r"^(?:OTHER_)?EXTRAS := (.+)$", makefile, re.MULTILINE) for name in line.split(",")
    ]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert sorted(listed) == sorted(extras), "EXTRAS of `make test` and OTHER_EXTRAS of `make test-extras` name all"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, without a network: a build in the tree would leave folders that the next wheel picks up."""
    place = tmp_path_factory.mktemp("wheel")
    junk = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in (*PACKAGES, "tests", "benchmarks"):
        shutil.copytree(ROOT / folder, place / "source" / folder, ignore=junk)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / "source" / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place / "out")]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(place / "source")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (place / "out").glob("rlkit-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_all_that_runs_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = {path.relative_to(ROOT).as_posix() for path in sources(*PACKAGES)}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.toml")}
    for folder in ("data", "templates"):
        wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "rlkit" / "report" / folder).iterdir()}
    assert files == wanted | {"rlkit/py.typed"}


def test_an_installed_wheel_works_from_any_directory(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    # -P keeps the current directory off the path, and the first entry wins over an editable installation.
    probe = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import rlkit, agents, envs, configs;"
        "from pathlib import Path;"
        "print(*(Path(m.__file__).parent.parent for m in (rlkit, agents, envs, configs)));"
        "from rlkit.cli import main; main(['list'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()[0].split()) == {str(tmp_path / "site")}
    assert "quickstart" in done.stdout
