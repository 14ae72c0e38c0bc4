"""Keeps docs/gallery.md in step with pretrained/: scores, protocols and configs, and pictures of an episode.

    python docs/gallery.py              the page, from results and configs; part of `make results`
    python docs/gallery.py NAME ...     also docs/images/gallery/NAME.gif: an episode of pretrained/NAME

The text between `<!-- policy: NAME -->` and `<!-- end -->` is written by this script.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import trim_mean

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gallery.md"
PICTURES = ROOT / "docs" / "images" / "gallery"
POLICY = re.compile(r"(<!-- policy: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
LARGEST = 1_000_000  # bytes of a file
MOST, WIDTH, COLOURS = 120, 360, 64  # frames, pixels, colours
MILLISECONDS = 100  # a frame


def page(text: str) -> str:
    """The page with the facts of each policy written anew."""
    return POLICY.sub(lambda match: f"{match[1]}{facts(match[2])}{match[4]}", text)


def facts(name: str) -> str:
    """The score of pretrained/NAME with its protocol, and the packaged config that it was trained with."""
    result = json.loads((ROOT / "pretrained" / name / "result.json").read_text(encoding="utf-8"))
    returns, config = np.array(result["final"]["returns"]), result["experiment"]
    spread = f"{returns.min():.4g} to {returns.max():.4g}" if returns.min() < returns.max() else "always the same"
    several = f"mean {returns.mean():.4g}, interquartile mean {trim_mean(returns, 0.25):.4g}, {spread}"
    alone = f"{returns[0]:.4g} in one episode: world and policy are deterministic"
    score = f"{several}, {len(returns)} episodes" if len(returns) > 1 else alone
    made = f"after {result['env_steps']:,} steps, seed {result['seed']}, rlkit {result['versions']['rlkit']}"
    protocol = "; ".join(f"{key}: {value}" for key, value in result["protocol"].items())
    toml = (ROOT / "configs" / f"{config}.toml").read_text(encoding="utf-8").strip()
    return f"""
**Return:** {score} ({made}).

<details><summary>Protocol and config</summary>

{protocol}.

Packaged config `{config}`:

```toml
{toml}
```

</details>

"""


def record(name: str) -> Path:
    """The GIF of one evaluation episode, or of its first steps. Raises SystemExit if the file is too large."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "episode.mp4"
        command = [sys.executable, "-m", "rlkit.cli", "evaluate", f"pretrained/{name}", "--episodes", "1", "--trust",
                   "--video", str(video), "--out", f"{folder}/scores.json"]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        frames = pictures(video)
    out = PICTURES / f"{name}.gif"
    out.parent.mkdir(exist_ok=True)
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, optimize=True)
    if out.stat().st_size > LARGEST:
        raise SystemExit(f"{out}: {out.stat().st_size:,} bytes are more than {LARGEST:,}")
    return out


def pictures(video: Path) -> list[Image.Image]:
    """The first frames of a video, small and with few colours."""
    import av

    frames = []
    with av.open(str(video)) as opened:
        for frame in opened.decode(video=0):
            if len(frames) == MOST:
                break
            picture = frame.to_image()
            size = (min(WIDTH, picture.width), round(picture.height * min(1, WIDTH / picture.width)))
            frames.append(picture.resize(size).quantize(COLOURS))
    return frames


if __name__ == "__main__":
    for each in sys.argv[1:]:
        found = record(each)
        print(f"{found.relative_to(ROOT)}: {found.stat().st_size:,} bytes")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
