"""Checks the built site as a reader's browser sees it. `make test-docs` runs this script.

    python docs/browse.py build/site build/screenshots

Follows every internal link and anchor, opens the main pages and a page of `rlkit report` in headless Chromium, and
fails on messages of the console. Takes screenshots at the widths of a desktop and of a phone, to look at.
Without Chromium, only the links are checked, and it says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = {"desktop": (1280, 1400), "phone": (500, 1400)}  # Chromium's smallest window is 500 pixels wide
SHOWN = (
    "docs/index",
    "docs/start",
    "docs/sparse-world",
    "docs/results/index",
    "docs/gallery",
    "agents/dqn/README",
    "docs/api",
)
DATA = "docs/results/data/minatar-breakout"


class Page(HTMLParser):
    """The ids of a page, and the addresses that it refers to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.addresses: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for key, value in attributes:
            if key == "id" and value:
                self.ids.add(value)
            elif key in ("href", "src") and value:
                self.addresses.append(value)


def broken_links(site: Path) -> list[str]:
    """One line for each internal link of the site without a file or an anchor."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    lines = []
    for path, page in pages.items():
        for address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists():
                lines.append(f"{path.relative_to(site.resolve())}: {address}: no such file")
            elif anchor and target in pages and anchor not in pages[target].ids:
                lines.append(f"{path.relative_to(site.resolve())}: {address}: no such anchor")
    return lines


def opened(browser: str, page: Path, picture: Path, size: tuple[int, int]) -> list[str]:
    """Takes a screenshot of a page. Returns the messages of its console."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=8000",
                   "--enable-logging=stderr", f"--screenshot={picture}", page.resolve().as_uri()]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if not picture.is_file():
        return [f"{page}: no screenshot: {done.stderr[-500:]}"]
    return [f"{page}: {line}" for line in done.stderr.splitlines() if ":CONSOLE" in line]


def _title(page: Path, site: Path) -> str:
    """docs/results/index.html of the site → "docs-results-index"."""
    return "-".join(page.relative_to(site).with_suffix("").parts) if page.is_relative_to(site) else page.stem


def main() -> None:
    site, pictures = map(Path, sys.argv[1:])
    problems = broken_links(site)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"pages are not opened: none of {', '.join(BROWSERS)} is installed")
    else:
        pictures.mkdir(parents=True, exist_ok=True)
        report = pictures / "report.html"
        subprocess.run(
            [sys.executable, "-m", "rlkit.cli", "report", DATA, "--html", report.resolve()], cwd=ROOT, check=True
        )
        for page in [*(site / f"{name}.html" for name in SHOWN), report]:
            for width, size in WIDTHS.items():
                problems += opened(browser, page, (pictures / f"{_title(page, site)}-{width}.png").resolve(), size)
        print(f"look at {pictures}/*.png")
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
