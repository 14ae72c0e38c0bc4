"""`rlkit describe`."""

from __future__ import annotations

from helpers.command import call


def test_describe_shows_the_networks() -> None:
    shown = call("describe", "minatar/breakout", "--set", "agent.network.normalisation=weight").output
    for word in ("Q-network", "encoder.layers.0", "conv 16", "norm", "(16, 8, 8)", "36,864", "132,326"):
        assert word in shown, word
    refused = call("describe", "minatar/breakout", "--set", 'agent={name="random"}')
    assert refused.exit_code == 2
    assert 'agent "random" has no networks to describe' in refused.output
    frames = call("describe", "cartpole", "--set", "agent.network.encoder=impala")
    assert frames.exit_code == 2
    assert "(4,)" in frames.output
