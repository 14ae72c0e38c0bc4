"""RUN/tracking.json: the identifiers of a run in trackers, which a resumed run continues.

A run directory may come from somebody else and name any identifier, such as that of a run of yours. So each identifier
has a mark that only this account can make, and only for this folder; an identifier without it is not used.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import warnings
from contextlib import suppress
from pathlib import Path

from rlkit.files import read_json, write_text

MARKS = "marks"


class Tracked:
    """The identifiers of one run directory, by tracker."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "tracking.json"
        self._place = str(folder.resolve())

    def read(self, tracker: str) -> str | None:
        """The identifier; None if there is none. Warns of one that was not written by this account for this folder."""
        if not self._path.is_file():
            return None
        content = read_json(self._path)
        identifier, marks = content.get(tracker), content.get(MARKS)
        if not isinstance(identifier, str) or not identifier:
            return None
        mark = marks.get(tracker) if isinstance(marks, dict) else None
        wanted = self._mark(tracker, identifier)
        if wanted is not None and hmac.compare_digest(str(mark).encode(), wanted.encode()):
            return identifier
        warnings.warn(
            f"{self._path}: the run in {tracker} was recorded for another folder or by another account, so it is not "
            "continued",
            stacklevel=2,
        )
        return None

    def write(self, tracker: str, identifier: str) -> None:
        known = read_json(self._path) if self._path.is_file() else {}
        marks = known.get(MARKS) if isinstance(known.get(MARKS), dict) else {}
        content = {**known, tracker: identifier, MARKS: {**(marks or {}), tracker: self._mark(tracker, identifier)}}
        write_text(self._path, json.dumps(content) + "\n")

    def _mark(self, tracker: str, identifier: str) -> str | None:
        key = _key()
        message = json.dumps([tracker, identifier, self._place]).encode()
        return None if key is None else hmac.new(key, message, hashlib.sha256).hexdigest()


def _key() -> bytes | None:
    """The secret of this account, made when it is first needed; None where it cannot be kept."""
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        file = Path(state) / "rlkit" / "tracking-key"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_name(f".{file.name}.{os.getpid()}")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                opened.write(secrets.token_bytes(32))
            with suppress(FileExistsError):
                os.link(fresh, file)  # does not replace the key that another process has just made
            fresh.unlink()
        return file.read_bytes() or None
    except (OSError, RuntimeError):  # no home directory, or none that can be written to
        return None
