"""Experience replay: steps stored once, sampled as windows."""

from rlkit.memory import placed, require_memory, size_text
from rlkit.replay.hindsight import Hindsight
from rlkit.replay.options import OptionStore, option_bytes
from rlkit.replay.prioritised import Prioritised
from rlkit.replay.replay import Replay, replay_bytes
from rlkit.replay.ring import Column

__all__ = [
    "Column",
    "Hindsight",
    "OptionStore",
    "Prioritised",
    "Replay",
    "option_bytes",
    "placed",
    "replay_bytes",
    "require_memory",
    "size_text",
]
