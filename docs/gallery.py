"""Records docs/images/gallery/NAME.gif: one episode of each policy in pretrained/.

python docs/gallery.py [NAME ...]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "images" / "gallery"
LARGEST = 1_000_000  # bytes of a file
MOST, WIDTH, COLOURS = 120, 360, 64  # frames, pixels, colours
MILLISECONDS = 100  # a frame


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
    for each in sys.argv[1:] or sorted(path.name for path in (ROOT / "pretrained").iterdir()):
        found = record(each)
        print(f"{found.relative_to(ROOT)}: {found.stat().st_size:,} bytes")
