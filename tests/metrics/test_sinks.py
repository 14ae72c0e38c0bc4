"""The sinks of a run: TensorBoard holds what the line log does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rlkit.metrics.line_log import read_rows


def test_tensorboard_reads_the_same(small_run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(small_run / "tensorboard"))
    events.Reload()
    rows = read_rows(small_run / "metrics.jsonl")
    for name in ("episode/return", "loss/td", "explore/epsilon", "evaluation/return_mean", "q/max"):
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(row["env_steps"], np.float32(row[name])) for row in rows if name in row]
        assert seen == expected, name
    texts = events.Tags()["tensors"]
    assert "config/text_summary" in texts
    assert "protocol/text_summary" in texts
    plugin = events.summary_metadata["_hparams_/session_start_info"]
    assert b"agent.learning_rate" in plugin.plugin_data.content
    assert b"final/return_iqm" in events.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert "final/return_iqm" in events.Tags()["scalars"], "the table of settings would show no final score"
    layout = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    places = [layout.index(title) for title in (b"1 score", b"2 learning", b"3 exploration", b"4 progress")]
    assert places == sorted(places)
