"""The order in which pages of charts show the metrics of a run: in TensorBoard, and in a report."""

from __future__ import annotations

SCORES = ("final/return_mean", "final/return_iqm", "evaluation/return_mean")  # beside the settings of a run
LAYOUT = {  # category → chart → patterns (regular expressions) of the names it shows; most important first
    "1 score": {"evaluation": [r"evaluation/return_mean"], "training episodes": [r"episode/return"],
                "success": [r"episode/success", r"evaluation/success_rate"],
                "final": [r"final/return_mean"], "episode length": [r"episode/length"]},
    "2 learning": {"loss": [r"(.*/)?loss[/_].*"], "values": [r"(.*/)?q[/_](mean|max)"],
                   "error": [r"(.*/)?q[/_]td_error"], "gradient": [r"(.*/)?gradient[/_]norm"]},
    "3 exploration": {"exploration": [r"explor.*/.*"]},
    "4 progress and speed": {"environment steps a second": [r"time/env_steps_per_second"],
                             "updates": [r"progress/updates"], "replay": [r"replay/.*"]},
    "5 network": {"lengths of v": [r"(.*/)?weight_norm[/_].*"], "g": [r"(.*/)?g[/_].*"],
                  "gradients": [r"(.*/)?gradient_norm[/_].*"], "dormant units": [r"(.*/)?dormant[/_].*"],
                  "effective learning rate": [r"(.*/)?effective_learning_rate[/_].*"],
                  "rank": [r"(.*/)?features[/_]srank"]},
    "6 goals": {"success": [r"goal_success/.*"], "shares": [r"goal_share/.*"], "length": [r"goal_length/.*"],
                "visits an episode": [r"goal_visits/.*"], "what options bring": [r"option/.*return"]},
}  # fmt: skip
