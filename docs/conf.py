"""The documentation site: `make docs` builds it from the pages where they are, with Sphinx, MyST and furo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rlkit
from rlkit.cli.list import keys_of, tables_of

project = "rlkit"
author = "the rlkit authors"
release = version = rlkit.__version__
root_doc = "docs/index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
include_patterns = ["docs/**.md", "agents/*/README.md", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
html_theme = "furo"
html_title = f"rlkit {release}"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
myst_heading_anchors = 4  # links to headings, as on a folder view
myst_enable_extensions = ["dollarmath"]
suppress_warnings = ["myst.header"]  # a page may begin with a table's comment, or leave out a level
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
nitpicky = False
LINK = re.compile(r"\[([^\]]*)\]\(([\w./-]+)\)")
ARGUMENT = re.compile(r"\w+: \S")
KEYS = re.compile(r"<!-- keys: (\w+)(?: ([\w.]+))? -->")
ELSEWHERE = ("bonus.", "network.", "controller.bonus.", "controller.network.", "meta.bonus.", "meta.network.")
"""Keys of agents that have a page of their own."""
CODE = re.compile(r"(``[^`]+``|`[^`]+`)")


def as_plain_text(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: `code` is code, and no other character has a meaning in reStructuredText."""
    lines[:] = structured(["".join(_piece(part) for part in CODE.split(line)) for line in lines])


def structured(lines: list[str]) -> list[str]:
    """ "name: meaning" at a line's beginning becomes an item of a list; an indented block after a colon is code."""
    out: list[str] = []
    in_item = in_code = False
    for line in lines:
        after_blank, indented = not out or not out[-1], line.startswith("    ")
        if out and ARGUMENT.match(line) and (after_blank or in_item):
            in_item, in_code = True, False
            out.append(f"- {line}")
        elif in_item and indented and not after_blank:
            out.append(f"  {line.strip()}")
        else:
            said = [text for text in out if text]
            if indented and after_blank and said and said[-1].endswith(":"):
                out[-2] += ":"  # "::" begins a block of code
                in_code = True
            if line and not indented:
                out += [""] if in_item or (in_code and not after_blank) else []
                in_item = in_code = False
            out.append(line)
    return out


def without_folders(app: Any, docname: str, source: list[str]) -> None:
    """A link to a folder, which a folder view opens, becomes its text: a site has no page for it."""
    here = Path(app.srcdir, docname).parent

    def kept(link: re.Match[str]) -> str:
        return link[1] if (here / link[2]).is_dir() else link[0]

    source[0] = LINK.sub(kept, source[0])


def with_keys(app: Any, docname: str, source: list[str]) -> None:
    """A comment "keys: agents dqn" becomes the table of these keys, as `rlkit list agents dqn` prints it."""
    source[0] = KEYS.sub(lambda match: "\n".join(_key_tables(match[1], match[2])), source[0])


def _key_tables(what: str, name: str | None) -> Iterator[str]:
    for title, (model, table) in tables_of(what, name).items():
        yield from ("", f"**`[{title}]`**", "", "| key | default | meaning |", "|---|---|---|")
        for key, default, meaning in keys_of(model, table):
            if key.startswith(ELSEWHERE) and what == "agents":
                continue
            value = f"`{default}`" if default else ""
            yield f"| `{key}` | {value} | {meaning.replace('|', '/').replace('<', '&lt;')} |"


def _piece(text: str) -> str:
    if CODE.fullmatch(text):
        return f"``{text.strip('`')}``"
    return re.sub(r"([\\*|_])", r"\\\1", text)


def setup(app: Any) -> None:
    app.connect("source-read", without_folders)
    app.connect("source-read", with_keys)
    app.connect("autodoc-process-docstring", as_plain_text)
