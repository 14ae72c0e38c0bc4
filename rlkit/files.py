"""Files written completely or not at all, never through a link; files of strangers, read within bounds."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

from rlkit.errors import RunError

LARGEST_JSON = 2**26  # bytes, read into up to 25 times as much memory; a state with a replay of 100 GiB has below 2**22
LOCK = re.compile(r"(pid \d+ on .*)?")  # what a lock holds: its owner, if it has one
TEMPORARY = re.compile(r"\..+\.\d+")  # how `write` names an unfinished file: a dot, the file's name, a process id


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """An open binary file that gets the name `path` at the end of the block, complete; after an error, not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # left by a killed process with this id
    try:
        with temporary.open("xb") as file:  # "x" does not follow a link
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: Path, content: Callable[[BinaryIO], Any]) -> None:
    """Writes a file completely or not at all. content: called with the open binary file."""
    with writing(path) as file:
        content(file)


def write_text(path: Path, text: str) -> None:
    """Writes a small text file completely or not at all, and makes its name durable."""
    write(path, lambda file: file.write(text.encode()))
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Removes what `write` left in `folder` when it was killed. No other process may be writing there."""
    for path in folder.glob(".*"):
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


class Taken(Exception):
    """A lock that another process holds; the text names its process and host."""


class FileLock:
    """The lock of a file, which names the process and the host that hold it.

    The system releases it when the process ends, however it ends. On a folder that several machines share it holds only
    if the file system passes locks on; so a lock that another host has left behind is taken with a warning.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        """wait: until it is free. Raises Taken if it is not, RunError for a file that is no lock."""
        import fcntl  # not on Windows, where policies can act and be evaluated, but not trained

        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        self._file = os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            with self._file as file:
                raise Taken(file.read(300).strip() or "pid unknown") from error
        left, host = self._file.read(300).strip(), socket.gethostname()
        if not LOCK.fullmatch(left):
            self._file.close()
            raise RunError(f"{path} is no lock, but holds {left[:40]!r}; move it away")
        if left and " on " in left and not left.endswith(f" on {host}") and not wait:
            warnings.warn(f"{path} was left by {left}; if that process still runs, stop this one", stacklevel=3)
        self._write(f"pid {os.getpid()} on {host}")

    def _write(self, owner: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(owner)
        self._file.flush()

    def release(self) -> None:
        self._write("")
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.release()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises RunError, in one line, for anything else."""
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise RunError(f"{path} has {size:,} bytes; expected at most {LARGEST_JSON:,}")
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()  # refuses halves of characters, which no file can contain
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise RunError(f"{path} cannot be read: it is nested too deeply") from error
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} cannot be read: expected a JSON object, got {type(content).__name__}")
    return content


def refuse_links(folder: Path) -> None:
    """Raises RunError if anything below `folder` is neither a regular file nor a directory.

    A link in a directory that somebody else made could lead any write or removal to another place.
    """
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                what = f"a link to {os.readlink(path)}" if stat.S_ISLNK(mode) else "neither a file nor a directory"
                raise RunError(f"{path} is {what}; a run directory must hold files and directories only")
