"""Names of the actions of Gymnasium environments, to show them in videos."""

from __future__ import annotations

from typing import Any

from rlkit.vector.environment import Env, num_actions

MINATAR = {"n": "none", "l": "left", "u": "up", "r": "right", "d": "down", "f": "fire"}


def action_names(env: Env) -> tuple[str, ...]:
    """One name for each action; () if the environment has none, or a wrapper has another action space.

    Read from an attribute `action_names` of the environment, MiniGrid's enumeration `actions`, MinAtar's `action_map`,
    or `get_action_meanings` of Gymnasium's Atari environments.
    """
    inner: Any = env.unwrapped
    if inner.action_space != env.action_space:
        return ()
    count = num_actions(env.action_space)
    game: Any = getattr(getattr(inner, "game", None), "env", None)
    names: list[str] = []
    if hasattr(inner, "action_names"):
        names = [str(name) for name in inner.action_names]
    elif hasattr(inner, "get_action_meanings"):
        names = [name.lower() for name in inner.get_action_meanings()]
    elif hasattr(inner, "actions") and hasattr(inner.actions, "__members__"):
        names = [*inner.actions.__members__][:count]  # some worlds offer the first few alone
    elif hasattr(game, "action_map"):
        names = [MINATAR.get(game.action_map[number], game.action_map[number]) for number in inner.action_set]
    return tuple(names) if len(names) == count else ()
