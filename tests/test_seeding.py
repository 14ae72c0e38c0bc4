import numpy as np
import torch

from rlkit.seeding import MAX_SEED, Streams, torch_seeded


def test_a_stream_is_a_function_of_its_name_alone() -> None:
    streams = Streams(7)
    first = streams.generator("replay").random(5)
    streams.generator("other").random(100)
    assert (Streams(7).generator("replay").random(5) == first).all()


def test_names_numbers_children_and_roots_separate_streams() -> None:
    streams = Streams(7)
    draws = [
        stream.generator(name, *numbers).integers(2**62)
        for stream in (streams, Streams(8), streams.child("a"), streams.child("a/b"))
        for name in ("x", "y")
        for numbers in ((), (0,), (1,), (0, 1), (1, 0))
    ]
    assert len(set(map(int, draws))) == len(draws)


def test_seeds_fit_every_emulator() -> None:
    seeds = [Streams(3).seed("environment", 0, k) for k in range(2000)]
    assert min(seeds) >= 0
    assert max(seeds) <= MAX_SEED
    assert len(set(seeds)) == 2000


def test_torch_and_numpy_keep_their_global_state() -> None:
    torch.manual_seed(1)
    before_torch, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with torch_seeded(5):
        first = torch.nn.Linear(3, 3).weight.detach().clone()
    with torch_seeded(5):
        second = torch.nn.Linear(3, 3).weight.detach().clone()
    Streams(5).generator("anything").random()
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before_torch)
    assert (np.random.get_state()[1] == before_numpy).all()  # noqa: NPY002
