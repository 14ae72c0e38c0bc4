"""What some bytes of the console's memory mean, by game: labels for probes (Anand et al. 2019, AtariARI)."""

from __future__ import annotations

BYTES: dict[str, dict[str, int]] = {
    "breakout": {"ball_x": 99, "ball_y": 101, "paddle_x": 72, "score": 84, "blocks_hit": 77},
    "freeway": {"chicken_y": 14, "score": 103, **{f"car_{number + 1}_x": 108 + number for number in range(10)}},
    "montezuma_revenge": {"x": 42, "y": 43, "room": 3, "skull_x": 47, "direction": 52, "lives": 58},
    "pong": {
        "ball_x": 49, "ball_y": 54, "paddle_y": 51, "opponent_y": 50, "score": 14, "opponent_score": 13,
    },
}  # fmt: skip
