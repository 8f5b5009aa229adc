"""Forces without noise: the fit has an answer, the right one, and says that its error bars stand for the spline's."""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.inference.linear import exact
from bayescg.inference.linear.priors import build_prior
from bayescg.potentials import WCA
from tests.inference import systems

POTENTIAL = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.06, baseline=WCA(0.34, 2.0)))
WELL = -3.0 * np.exp(-(((np.arange(POTENTIAL.n_basis) - 7) / 2.5) ** 2))


@pytest.fixture(scope="module")
def frames():
    """A lattice with displacements, and exactly the forces that the potential has with some well."""
    rng = np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3) * 0.38
    positions = lattice + rng.normal(0, 0.02, (6, 125, 3))
    cg = bcg.from_arrays(positions, np.full(3, 1.9), ["A"] * 125, temperature=300.0, mass=np.full(125, 40.0))
    return cg.assign(forces=(("frame", "bead", "xyz"), systems.forces_of(POTENTIAL, cg, WELL)))


def fitted(cg, calibration):
    settings = Sampling(chains=1, warmup=1, draws=400)
    return bcg.force_match(
        POTENTIAL, cg, method="laplace", calibration=calibration, settings=settings, key=jax.random.key(0)
    )


@pytest.mark.parametrize("calibration", ["godambe", "magnitude", "none"])
@pytest.mark.filterwarnings("ignore:Pareto k")
def test_exact_forces_give_their_potential(frames, calibration):
    with pytest.warns(UserWarning, match=r"no noise that .* half the knot_spacing"):
        fit = fitted(frames, calibration)
    attrs = fit["posterior"].attrs
    assert attrs["unexplained"] < 1e-6
    x = np.linspace(0.34, 0.75, 40)
    draws = fit["posterior"]["coefficients"].values[0]
    force = bcg.posterior.curves(POTENTIAL, "A-A", draws, x)[1]
    (true,) = bcg.posterior.curves(POTENTIAL, "A-A", WELL[None], x)[1]
    assert np.abs(force.mean(axis=0) - true).max() < 1e-3 * np.abs(true).max()
    # The noise that stands in is 3e-4 of the forces; so is, about, what it leaves open.
    assert 3e-6 < force.std(axis=0).max() / np.abs(true).max() < 3e-3


def test_forces_with_noise_are_left_alone(frames):
    from bayescg.inference.statistics.streaming import statistics_of

    def share(level):
        noisy = systems.with_noise(frames, level * float(frames["forces"].std()), 1)
        statistics = statistics_of(POTENTIAL, noisy)
        return exact.unexplained(statistics.total(), build_prior(statistics, {}))

    assert share(1e-2) == pytest.approx(1e-2, rel=0.1)
    assert not exact.is_exact(share(1e-3))
    assert exact.is_exact(share(1e-4))
    assert share(0.5) == 1.0
