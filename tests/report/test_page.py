"""The page of a report and the card of a run: what they say, that they stand alone, and what they refuse."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.command import call
from helpers.result_files import ResultWriter
from rlkit.report import page
from rlkit.report.charts import POINTS, ordered, thinned
from rlkit.report.curves import Curve
from rlkit.report.page import names_of, nested
from rlkit.report.results import find


class Text(HTMLParser):
    """The words of a page outside scripts and styles, the addresses in it, and the number of charts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.addresses, self.charts, self._silent = "", [], 0, False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._silent = tag in ("script", "style")
        named = dict(attributes)
        self.addresses += [named[key] for key in ("src", "href") if named.get(key)]
        self.charts += "plotly-graph-div" in (named.get("class") or "")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        self.words += "" if self._silent else data


def test_the_page_of_a_run(small_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "images").mkdir(exist_ok=True)
    (run / "images" / "train-visits.png").write_bytes(b"picture")
    (run / "replay.mp4").write_bytes(b"video")
    done = call("report", run, "--html", tmp_path / "out.html")
    assert done.exit_code == 0, done.output
    text = Text((tmp_path / "out.html").read_text())
    result = json.loads((run / "result.json").read_text())
    for expected in ("CartPole-v1", "return of training episodes", "learning_starts = 50", result["versions"]["torch"],
                     result["machine"], f"{np.mean(result['final']['returns']):.2f}"):  # fmt: skip
        assert expected in text.words, expected
    assert text.charts > 5
    assert all(address.startswith(("data:", "#")) for address in text.addresses), "the page needs other files"
    assert {address.partition(",")[0] for address in text.addresses if address.startswith("data:") and "," in address} \
        >= {"data:image/png;base64", "data:video/mp4;base64"}  # fmt: skip


def test_groups_of_seeds_are_compared_and_text_is_no_markup(write_result: ResultWriter, tmp_path: Path) -> None:
    for seed in range(3):
        for name, score in (("plain", 1.0), ("<script>alert(1)</script>", 5.0)):
            write_result(f"in/{name[:2]}{seed}.json", score=score + seed, seed=seed, experiment=name)
    done = call("report", tmp_path / "in", "--html", tmp_path / "out.html")
    assert done.exit_code == 0, done.output
    written = (tmp_path / "out.html").read_text()
    assert "<script>alert" not in written
    words = Text(written).words
    for expected in ("6 runs in 2 groups", "2.00 [1.00, 3.00]", "probability of improvement", "Protocol: environment"):
        assert expected in words, expected


UNSOUND = {
    "a list of versions": {"versions": [1, 2]},
    "no returns": {"final__returns": []},
    "one return": {"final__returns": 3},
    "returns in rows": {"final__returns": [[1, 2], [3, 4]]},
    "steps in words": {"config__agent__name": "x:y", "config__train__steps": "many"},
    "half a rule": {"config__agent__name": "x:y", "config__evaluation__stop": {"at_least": 3}},
    "a rule in words": {"config__agent__name": "x:y",
                        "config__evaluation__stop": {"key": "return_mean", "at_least": "a", "times": 1}},
    "a curve at NaN": {"curve": [{"env_steps": float("nan"), "return_mean": 1.0}]},
    "equal references": {"reference_scores": {"random": 1, "human": 1}},
    "other references": {"reference_scores": {"a": 1}},
    "half a character": {"experiment": "\ud800"},
}  # fmt: skip


@pytest.mark.parametrize("changes", UNSOUND.values(), ids=UNSOUND)
def test_unsound_results_are_left_out(changes: dict[str, Any], write_result: ResultWriter, tmp_path: Path) -> None:
    file = write_result("in/a.json", **changes)
    write_result("in/b.json", seed=1)
    for command in (["compare", file.parent], ["report", file.parent, "--html", tmp_path / "out.html"]):
        done = call(*command)
        assert done.exit_code == 0, done.output
        assert "a.json cannot be read" in done.output.replace("\n", " ")
        assert "it is left out" in done.output.replace("\n", " ")


def test_a_card_is_no_page_of_a_stranger(small_run: Path, tmp_path: Path) -> None:
    """HTML, links, headings, table cells and the end of the block with the config."""
    run = shutil.copytree(small_run, tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    evil = "<script>alert(1)</script>\n# more [x](javascript:alert(1)) `a` | b"
    result["protocol"]["environment"] = result["machine"] = evil
    (run / "result.json").write_text(json.dumps(result))
    (run / "images").mkdir(exist_ok=True)
    (run / "images" / "a](x) <b>.png").write_bytes(b"picture")
    config = run / "config.toml"
    config.write_text(config.read_text() + "# ```\n# <img src=x>\n# ````\n")
    done = call("card", run, "--out", tmp_path / "card.md")
    assert done.exit_code == 0, done.output
    card = (tmp_path / "card.md").read_text().split("---\n", 2)[2]
    text, _, rest = card.partition("\n`````toml\n")
    assert rest.endswith("\n`````\n")
    assert "<script" not in text
    assert "](javascript" not in text
    assert "\n# more" not in text
    assert "(images/a%5D%28x%29%20%3Cb%3E.png)" in text
    assert {line.count(" | ") for line in text.splitlines() if line.startswith("| ")} == {8, 4}


def test_labels_in_charts_are_no_tags(write_result: ResultWriter, tmp_path: Path) -> None:
    for seed, name in enumerate(("plain", '<a href="https://example.org">here</a>')):
        write_result(f"in/{seed}.json", experiment=name)
    assert call("report", tmp_path / "in", "--html", tmp_path / "out.html").exit_code == 0
    page = (tmp_path / "out.html").read_text()
    assert "\\u0026lt;a href" in page or "&lt;a href" in page.split("Plotly.newPlot", 1)[1]
    assert '"name":"\\u003ca href' not in page


def test_pictures_have_a_limit(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "images").mkdir(exist_ok=True)
    (run / "images" / "large.png").write_bytes(bytes(100))
    monkeypatch.setattr(page, "LARGEST_MEDIA", 99)
    found = page.report(find([run]))
    assert any("large.png is left out" in note for note in found.notes)
    assert not found.pictures


def test_what_is_left_out_is_said(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "result.json").unlink()
    (run / "long.mp4").write_bytes(bytes(100))
    monkeypatch.setattr(page, "LARGEST_MEDIA", 99)
    found = page.report(find([run]))
    assert found.runs.rows[0][4] == "unfinished"
    assert "is unfinished at step 400" in found.notes[0]
    assert "long.mp4 is left out" in found.notes[1]
    assert not found.videos


def test_the_card_has_a_header_of_metadata(small_run: Path, tmp_path: Path) -> None:
    done = call("card", small_run, "--out", tmp_path / "card.md")
    assert done.exit_code == 0, done.output
    card = (tmp_path / "card.md").read_text()
    returns = json.loads((small_run / "result.json").read_text())["final"]["returns"]
    header = card.split("---\n")[1]
    assert 'name: "CartPole-v1"' in header
    assert f'value: "{np.mean(returns):.2f} +/- {np.std(returns):.2f}"' in header
    assert tomllib.loads(re.search(r"```toml\n(.*?)```", card, re.DOTALL)[1])["agent"]["learning_starts"] == 50
    again = call("card", small_run, "--out", tmp_path / "card.md")
    assert again.exit_code == 2
    assert "exists; delete it" in again.output


def test_cards_are_of_one_finished_run(write_result: ResultWriter, small_run: Path, tmp_path: Path) -> None:
    write_result("in/a.json")
    write_result("in/b.json", seed=1)
    assert "a card describes one run, and these are 2" in call("card", tmp_path / "in", "--out", tmp_path / "c").output
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "result.json").unlink()
    assert "is unfinished at step 400" in call("card", run).output
    assert not (run / "README.md").exists()


def test_a_report_is_written_as_html() -> None:
    done = call("report", "runs", "--html", "report.pdf")
    assert done.exit_code == 2
    assert done.output == "Error: report.pdf: reports are written as .html\n"


def test_metrics_come_in_the_order_of_the_layout() -> None:
    found = list(ordered({"zebra", "loss/td", "evaluation/return_mean", "episode/return", "final/return_iqm"}))
    assert found == [("score", "evaluation/return_mean"), ("score", "episode/return"), ("learning", "loss/td"),
                     ("other", "zebra")]  # fmt: skip


def test_long_curves_are_averaged_over_parts() -> None:
    x = np.arange(3.0 * POINTS)
    short = thinned(Curve(x, np.stack([x, 2 * x])))
    assert short.values.shape == (2, POINTS)
    assert short.x[:2].tolist() == [1, 4]
    np.testing.assert_array_equal(short.values[1], 2 * short.x)


def test_names_of_runs_are_as_short_as_they_can_be() -> None:
    paths = [Path("/a/x/run"), Path("/a/y/run"), Path("/b/x/run"), Path("/a/other.json")]
    assert list(names_of(paths).values()) == ["a/x/run", "y/run", "b/x/run", "other"]


def test_flat_keys_become_tables_again() -> None:
    assert nested({"a.b.c": 1, "a.b.d": None, "e": 2}) == {"a": {"b": {"c": 1}}, "e": 2}
    assert nested({"a": 1, "a.b": 2, "a.b.c": 3, "d.e": [None, 4], "d": 5}) == {
        "a": 1, "a.b": 2, "a.b.c": 3, "d": 5,
    }  # fmt: skip
