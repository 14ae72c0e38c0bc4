"""Storage of experience: the replay, an SMDP replay of options, and trajectories for on-policy agents."""

from rlkit.memory import placed, require_memory, size_text
from rlkit.replay.hindsight import Hindsight
from rlkit.replay.options import OptionStore, option_bytes
from rlkit.replay.prioritised import Prioritised
from rlkit.replay.replay import Replay, replay_bytes, require_capacity
from rlkit.replay.ring import Column
from rlkit.replay.trajectory import Trajectory, TrajectoryBatch, trajectory_bytes

__all__ = [
    "Column",
    "Hindsight",
    "OptionStore",
    "Prioritised",
    "Replay",
    "Trajectory",
    "TrajectoryBatch",
    "option_bytes",
    "placed",
    "replay_bytes",
    "require_capacity",
    "require_memory",
    "size_text",
    "trajectory_bytes",
]
