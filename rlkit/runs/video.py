"""Videos of episodes: the screen at full size, beside it the return, values or probabilities, and the chosen action."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlkit.agent import Policy
from rlkit.errors import ConfigError, RlkitError
from rlkit.files import writing
from rlkit.types import ActorOutput, ActorState, EnvSpec, Mode, Observation, State, StepBatch

HEIGHT = 420  # screens are enlarged up to this number of pixels, by an integer factor
PANEL = 260  # pixels beside it
LINE = 22  # pixels of a line of text
EMULATOR_FRAMES = 60  # per second; environments without an emulator are shown at a frame skip of 4
INK, FAINT, CHOSEN = (230, 230, 230), (90, 90, 100), (90, 170, 255)
BACKGROUND = (20, 20, 24)


@runtime_checkable
class ActionValues(Protocol):
    """A policy that has action values to show."""

    def action_values(self, observation: Observation, state: ActorState) -> NDArray[Any]:
        """(N, A)."""


@runtime_checkable
class ActionProbabilities(Protocol):
    """A policy that has probabilities of actions and a state's value to show."""

    def action_probabilities(self, observation: Observation, state: ActorState) -> tuple[NDArray[Any], NDArray[Any]]:
        """Probabilities (N, A) and values (N,)."""


@runtime_checkable
class Caption(Protocol):
    """A policy that has a line of text to show, such as its goal."""

    def caption(self, state: ActorState) -> list[str]:
        """One line per environment, from the actor state that `act` returned."""


class Viewer(Protocol):
    """Where a recorded episode is shown: a file, a window, or a terminal."""

    def show(
        self,
        screen: NDArray[np.uint8],
        lines: list[str],
        names: tuple[str, ...],
        values: NDArray[Any] | None,
        action: int | None,
    ) -> None:
        """The screen (H, W, 3) with lines of text, the actions' names, their values (A,), and the one that is taken.

        values: None if the policy has none to show. action: None after the end of an episode.
        """
        ...


class VideoFile:
    """Writes pictures to an .mp4 file (H.264), which appears under its name when it is complete.

    Raises ConfigError for another suffix and if PyAV is missing, OSError if the file cannot be written.
    """

    def __init__(self, path: Path, frames_per_second: int) -> None:
        if path.suffix != ".mp4":
            raise ConfigError(f"--video {path}: videos are written as .mp4; give a name with this suffix")
        try:
            import av
            import PIL  # noqa: F401  the panel is drawn with it
        except ImportError as error:
            raise ConfigError(f"--video needs {error.name}; install rlkit[video]") from error
        self._av: Any = av
        self._writing = writing(path)
        self._container = av.open(self._writing.__enter__(), "w", format="mp4")
        self._rate = frames_per_second
        self._stream: Any = None

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Adds a picture (H, W, 3); all must have the same shape."""
        picture = np.pad(
            picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0))
        )  # H.264 needs even sizes
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=Fraction(self._rate), options={"crf": "18"})
            self._stream.height, self._stream.width = picture.shape[:2]
            self._stream.pix_fmt = "yuv420p"  # supported by all players
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def show(
        self,
        screen: NDArray[np.uint8],
        lines: list[str],
        names: tuple[str, ...],
        values: NDArray[Any] | None,
        action: int | None,
    ) -> None:
        """Adds the picture of `beside`."""
        self.write(beside(screen, lines, names, values, action))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException as failed:
            self._writing.__exit__(type(failed), failed, failed.__traceback__)
            raise
        self._writing.__exit__(kind, error, trace)

    def _finish(self) -> None:
        if self._stream is None:
            raise RlkitError("the video has no picture")
        self._container.mux(self._stream.encode(None))
        self._container.close()


class Recording:
    """Acts as `policy` and records the first episodes of environment 0; `on_step` must be called with every step.

    The environments must be made for Purpose.RENDER. Bars are shown of a policy with `action_values` or
    `action_probabilities`.
    """

    def __init__(self, policy: Policy, spec: EnvSpec, video: Viewer, episodes: int = 1) -> None:
        self._policy = policy
        self._names = spec.action_names or tuple(f"action {number}" for number in range(spec.num_actions))
        self._video = video
        self._bars: NDArray[Any] | None = None  # (A,) action values or probabilities at the last call of act
        self._value = 0.0  # of the state, likewise
        self._caption = ""  # likewise
        self._left = episodes  # to record, the present one included
        self._steps, self._total = 0, 0.0

    def initial_state(self, num_envs: int) -> ActorState:
        return self._policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if self._left:
            self._look(observation, state)
        output = self._policy.act(observation, state, rng, mode)
        if self._left and isinstance(self._policy, Caption):
            self._caption = self._policy.caption(output.state)[0]
        return output

    def _look(self, observation: Observation, state: ActorState) -> None:
        """What the policy thinks of environment 0, if it can be shown."""
        if isinstance(self._policy, ActionProbabilities):
            probabilities, values = self._policy.action_probabilities(observation, state)
            self._bars, self._value = probabilities[0], float(values[0])
        elif isinstance(self._policy, ActionValues):
            self._bars = self._policy.action_values(observation, state)[0]
            self._value = float(self._bars.max())

    def load_policy_state(self, state: State) -> None:
        self._policy.load_policy_state(state)

    def on_step(self, step: StepBatch) -> None:
        """Adds a picture per step, of the observation and the action taken; and one of the final observation."""
        if not self._left:
            return
        self._show(step.before, int(step.action[0]))
        self._steps += 1
        self._total += float(step.reward[0])
        if step.ended[0]:
            self._bars = None
            self._show(step.after, None)
            self._left -= 1
            self._steps, self._total = 0, 0.0

    def _show(self, observation: Observation, action: int | None) -> None:
        lines = [f"return  {self._total:g}", f"step  {self._steps:,}"]
        if self._bars is not None:
            lines.append(f"value  {self._value:.3f}")
        if self._caption:
            lines.append(self._caption)
        self._video.show(observation.signals["screen"][0], lines, self._names, self._bars, action)


def beside(
    screen: NDArray[np.uint8],
    lines: list[str],
    names: tuple[str, ...],
    values: NDArray[Any] | None,
    action: int | None,
) -> NDArray[np.uint8]:
    """The enlarged screen (H, W, 3) with a panel to its right: text, then the actions with their values as bars."""
    from PIL import Image, ImageDraw, ImageFont

    enlarged = max(1, HEIGHT // screen.shape[0])
    screen = screen.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    panel = Image.new("RGB", (PANEL, screen.shape[0]), BACKGROUND)
    pen = ImageDraw.Draw(panel)
    for row, line in enumerate(lines):
        pen.text((12, 12 + row * LINE), line, INK, ImageFont.load_default(15))
    top = 24 + max(3, len(lines)) * LINE
    height = min(LINE, (panel.height - top) // len(names))
    font = ImageFont.load_default(max(8, min(13, height - 4)))
    for number, name in enumerate(names):
        colour, y = CHOSEN if number == action else INK, top + number * height
        pen.text((12, y), name, colour, font)
        if values is not None:
            share = (values[number] - values.min()) / max(np.ptp(values), 1e-12)
            bar = (128, y + 2, 130 + int(60 * share), max(y + 2, y + height - 4))
            pen.rectangle(bar, fill=CHOSEN if number == action else FAINT)
            pen.text((PANEL - 12, y), f"{values[number]:.2f}", colour, font, anchor="ra")
    return np.concatenate([screen, np.asarray(panel)], axis=1)


def frames_per_second(spec: EnvSpec) -> int:
    """The emulator's own speed, or the rate that the environment states (Gymnasium's render_fps); else 15."""
    rate = EMULATOR_FRAMES / (spec.frame_skip if spec.frame_skip > 1 else 4)
    if spec.frame_skip == 1 and spec.steps_per_second is not None:
        rate = spec.steps_per_second
    return max(1, round(rate))
