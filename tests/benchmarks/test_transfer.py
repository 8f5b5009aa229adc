"""How long one posterior of many systems takes: 24 systems by both methods, 200 with six inducing states."""

import time
import warnings

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg import transfer
from bayescg.inference import Sampling
from tests.transfer import world


def systems(count: int) -> list[transfer.System]:
    """Lennard-Jones fluids of two noisy frames each, 40 coefficients."""
    made = []
    for k, one in enumerate(world.fluids(count, 3000)):
        data = world.with_noise(world.frames(one, 2, 3000 + k), 3500 + k)
        sums = bcg.force_statistics(world.POTENTIAL, data)
        made.append(transfer.System(sums, descriptors=dict(zip(("x1", "x2"), one.x, strict=True))))
    return made


@pytest.mark.parametrize(
    ("count", "rank", "method", "wanted"),
    [(24, 8, "laplace", 60), (24, 8, "nuts", 900), (200, 6, "laplace", 300)],
)
def test_fit(benchmark, capsys, count, rank, method, wanted):
    known, kernel = systems(count), transfer.StateKernel(rank=rank)
    plan = Sampling(chains=1, draws=200) if method == "laplace" else Sampling()
    cpu: list[float] = []

    def fit():
        begin = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            transfer.fit(known, kernel=kernel, method=method, settings=plan, key=jax.random.key(0))
        cpu.append(time.process_time() - begin)

    benchmark.pedantic(fit, rounds=1, iterations=1)
    seconds = float(np.sum(benchmark.stats.stats.data))
    with capsys.disabled():
        print(f"\n{count} systems, {method}: {seconds:.0f} s, {cpu[-1]:.0f} CPU-s (wanted: {wanted} s on two cores)")
