"""What is wrong with a config, in a line per key: the dotted key, what is wrong, and what is allowed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from rlkit import plugins
from rlkit.config.model import NestedError, models_in

SYNONYMS = {
    "lr": "learning_rate", "gamma": "discount", "eps": "epsilon", "buffer_size": "replay_capacity",
    "memory_size": "replay_capacity", "total_timesteps": "steps",
    "timesteps": "steps", "max_steps": "max_episode_steps", "n_envs": "num_envs", "env_id": "id",
    "layers": "hidden", "hidden_sizes": "hidden", "net_arch": "hidden", "clip_reward": "reward_clip",
    "warmup": "learning_starts", "warmup_steps": "learning_starts", "n_steps": "n_step", "double_q": "double",
    "entry_point": "register", "env_kwargs": "kwargs", "total_steps": "steps", "n_eval_episodes": "episodes",
}  # fmt: skip
"""Names that other libraries use → ours."""
MODEL = re.compile(r"[A-Z]\w*Config")  # pydantic names the table of a union that it tried


def explanations(error: ValidationError, root: type[BaseModel], at: tuple[str, ...] = ()) -> list[str]:
    """One line for each of pydantic's errors, including those of nested tables; `at`: the table that `root` is of."""
    lines = []
    for detail in _of_tables(error.errors(include_url=False)):
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, NestedError):
            lines += explanations(inner.error, inner.model, (*at, *map(str, detail["loc"])))
        else:
            lines.append(explain(dict(detail), root, at))
    return lines


def _of_tables(details: Sequence[Any]) -> list[Any]:
    """Without pydantic's "not a string" for a table that may be a string too: what is wrong in the table is said."""
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if not (
            isinstance(detail["input"], dict)
            and detail["loc"][-1:] == ("str",)
            and any(place[:-1] != detail["loc"][:-1] and place[: len(detail["loc"]) - 1] == detail["loc"][:-1]
                    for place in places)
        )
    ]  # fmt: skip


def explain(detail: Mapping[str, Any], root: type[BaseModel], at: tuple[str, ...] = ()) -> str:
    """One line for one of pydantic's errors: the dotted key, what is wrong, what is allowed."""
    location = [str(part) for part in detail["loc"] if not MODEL.fullmatch(str(part))]
    key = ".".join([*at, *location])
    if detail["type"] == "extra_forbidden":
        allowed = _fields_at(root, location[:-1])
        hint = _meant(location[-1], allowed) or _elsewhere(root, location[-1], ".".join([*at, *location[:-1]]))
        return f"{key}: unknown key{hint}; allowed: {', '.join(allowed)}"
    if detail["type"] == "missing":
        models = _models_at(root, location)
        needed = [name for model in models for name, field in model.model_fields.items() if field.is_required()]
        return f"{key}: missing" + (f"; it needs {', '.join(f'{key}.{name}' for name in needed)}" if needed else "")
    if detail["type"] in ("list_type", "tuple_type") and isinstance(detail["input"], str | int | float):
        return f"{key}: must be a list, as in {location[-1]} = {json.dumps([detail['input']])}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    got = f", got {json.dumps(detail['input'], default=str)[:80]}"
    return f"{key}: {message}{got}" if key else f"{message}{got}"


def _meant(word: str, allowed: list[str]) -> str:
    """ " (did you mean ...?)" for one of `allowed`, or ""."""
    other = SYNONYMS.get(word)
    return f" (did you mean {other}?)" if other in allowed else plugins.nearest(word, allowed)


def _elsewhere(root: type[BaseModel], word: str, place: str) -> str:
    """ " (did you mean ...?)" for dotted keys of other tables, or ""."""
    keys = [dotted for dotted in _all_keys(root) if dotted.rpartition(".")[0] != place]
    lasts = {dotted.rpartition(".")[2] for dotted in keys}
    last = SYNONYMS.get(word, word)
    if last not in lasts:
        last = next(iter(difflib.get_close_matches(word, lasts, n=1, cutoff=0.8)), "")
    found = [dotted for dotted in keys if dotted.rpartition(".")[2] == last]
    return f" (did you mean {' or '.join(found[:3])}?)" if found else ""


def _all_keys(root: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted keys of all tables below `root`, the outer ones first."""
    keys = [prefix + name for name in root.model_fields]
    for name, field in root.model_fields.items():
        for model in models_in(field.annotation):
            keys += _all_keys(model, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def _fields_at(root: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The field names of the model at `location` below `root`."""
    return sorted({name for model in _models_at(root, location) for name in model.model_fields})


def _models_at(root: type[BaseModel], location: Sequence[str]) -> list[type[BaseModel]]:
    """The models at `location` below `root`."""
    models = [root]
    for part in location:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:  # other parts are union tags of pydantic and positions in lists
            models = [model for field in fields for model in models_in(field.annotation)]
    return models
