"""Below the smallest distance that was met every draw repels, and only there draws know of it."""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference.linear import draws, marginal
from bayescg.inference.linear.priors import build_prior
from bayescg.kernels.pairs import force_below
from bayescg.posterior import curves

SIDE, KT, HEIGHT, WIDTH = 2.4, 2.5, 12.0, 0.35
PLAN = bcg.Sampling(chains=1, warmup=1, draws=1000)


def soft_liquid(noise, types="A"):
    """Four frames of 64 beads with Gaussian cores by Monte Carlo: sparse contacts, and forces with noise."""
    rng = np.random.default_rng(0)

    def apart(x):
        d = x[:, None] - x[None]
        d -= np.rint(d / SIDE) * SIDE
        return d, np.linalg.norm(d, axis=-1)

    def energy_of(x, k):
        r = np.linalg.norm((x[k] - x) - np.rint((x[k] - x) / SIDE) * SIDE, axis=-1)
        return HEIGHT * np.sum(np.exp(-((r / WIDTH) ** 2)))

    x = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * SIDE / 4
    positions, forces = [], []
    for sweep in range(60):
        for _ in range(64):
            k, y = rng.integers(64), x.copy()
            y[k] += rng.normal(size=3) * 0.12
            if np.log(rng.uniform()) < (energy_of(x, k) - energy_of(y, k)) / KT:
                x = y
        if sweep >= 20 and sweep % 10 == 0:
            d, r = apart(x)
            positions.append(x)
            forces.append(np.sum((2 * HEIGHT / WIDTH**2 * np.exp(-((r / WIDTH) ** 2)))[..., None] * d, axis=1))
    noisy = np.array(forces) + noise * rng.normal(size=(4, 64, 3))
    return bcg.from_arrays(np.array(positions), [SIDE] * 3, types, temperature=KT / 8.31446261815324e-3, forces=noisy)


@pytest.fixture(scope="module")
def soft():
    potential = bcg.Potential(bcg.Pair("A", "A", 0.9, knot_spacing=0.02))
    return bcg.force_statistics(potential, soft_liquid(60.0))


def plain_and_repulsive(statistics, count):
    """Draws at one value of the hyperparameters, before and after they know of repulsion."""
    with double_precision():
        prior = build_prior(statistics, {})
        values = {name: np.full((1, count), float(np.exp(v))) for name, v in prior.medians().items()}
        data = marginal.reduce(prior, statistics.total())
        plain = draws.draw_coefficients(prior, data, values, key=jax.random.key(0))[0]
        repulsive = draws.draw_repulsive(prior, data, values, key=jax.random.key(0))[0]
    return plain, repulsive


def attractive(statistics, name, coefficients):
    """Which draws attract anywhere from zero to the smallest distance met."""
    below = np.linspace(0.0, statistics.ranges[name][0], 2001)
    return np.any(curves(statistics.potential, name, coefficients, below)[1] < 0, axis=1)


@pytest.mark.filterwarnings("ignore:held-out")
@pytest.mark.parametrize("calibration", ["godambe", "none"])
def test_every_draw_repels_below_what_was_met(soft, calibration):
    tree = bcg.force_match(
        soft.potential, soft, method="laplace", calibration=calibration, settings=PLAN, key=jax.random.key(1)
    )
    assert not attractive(soft, "A-A", tree["posterior"]["coefficients"].values[0]).any()


def test_draws_are_those_of_the_gaussian_that_repel(soft):
    plain, repulsive = plain_and_repulsive(soft, 4000)
    wrong = attractive(soft, "A-A", plain)
    assert 0.05 < wrong.mean() < 0.9
    assert not attractive(soft, "A-A", repulsive).any()
    # Draws that repelled already are what they were; all together have the moments of these.
    np.testing.assert_array_equal(np.isin(plain[:, 0], repulsive[:, 0]) & wrong, False)
    low = soft.ranges["A-A"][0]
    x = np.linspace(low - 0.03, 0.8, 40)
    kept, found = (curves(soft.potential, "A-A", w, x)[1] for w in (plain[~wrong], repulsive))
    error = np.sqrt(kept.var(axis=0) * (1 / len(kept) + 1 / len(found)))
    assert np.max(np.abs(kept.mean(axis=0) - found.mean(axis=0)) / error) < 4.5
    np.testing.assert_allclose(found.std(axis=0), kept.std(axis=0), rtol=0.12)


def test_water_in_two_frames():
    """A second liquid, hard and dense: a few draws in a thousand."""
    universe = bcg.datasets.water().universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    water = bcg.coarse_grain(universe, mapping, temperature=300.0, stop=2)
    statistics = bcg.force_statistics(bcg.Potential(bcg.Pair("W", "W", 0.9)), water)
    plain, repulsive = plain_and_repulsive(statistics, 4000)
    assert attractive(statistics, "W-W", plain).any()
    assert not attractive(statistics, "W-W", repulsive).any()


def test_what_the_data_insist_on_stays(soft):
    """Beads held apart by others of their molecules may attract as close as they come."""
    with double_precision():
        prior = build_prior(soft, {})
        values = {name: np.full((1, 50), float(np.exp(v))) for name, v in prior.medians().items()}
        data = marginal.reduce(prior, soft.total())
        opposite = data._replace(gram=1e4 * data.gram, cross=-2e4 * np.abs(data.cross))
        plain = draws.draw_coefficients(prior, opposite, values, key=jax.random.key(0))
        kept = draws.draw_repulsive(prior, opposite, values, key=jax.random.key(0))
    assert attractive(soft, "A-A", plain[0]).all()
    np.testing.assert_array_equal(kept, plain)


def test_a_term_that_insists_leaves_others_repulsive(monkeypatch):
    """It uses up the attempts of both: the other one is judged without it."""
    rng, mean = np.random.default_rng(0), [-1.645, -0.253]  # negative with probabilities 0.95 and 0.6

    def gaussians(prior, data, values, root, key, rows, tries):
        found = rng.normal(mean, size=(1, 4000, 2))
        for _ in range(tries - 1):
            wrong = np.any(found @ rows.T < 0, axis=-1)
            found[wrong] = rng.normal(mean, size=(int(wrong.sum()), 2))
        return found

    monkeypatch.setattr(draws, "_rows_of", lambda prior: (np.eye(2), np.array([0, 1])))
    monkeypatch.setattr(draws, "_draw", gaussians)
    found = draws.draw_repulsive(None, None, {}, key=None)[0]
    assert np.mean(found[:, 0] < 0) == pytest.approx(0.95, abs=0.02)
    assert np.all(found[:, 1] >= 0)


@pytest.mark.parametrize("smallest", [0.0, 0.004, 0.0301, 0.31, 0.3149, 0.85])
def test_rows_bound_the_force_from_below(smallest):
    term = bcg.Pair("A", "A", 0.9, knot_spacing=0.03)
    rows = force_below(term, smallest)
    assert rows.shape == (33, term.n_basis)
    w = np.random.default_rng(0).normal(size=(200, term.n_basis)).cumsum(axis=1)
    x = np.linspace(max(0.0, smallest - 0.09), smallest, 3001)
    lowest = np.min(-w @ term.spline.matrix(x, 1)[:, : term.n_basis].T, axis=1)
    bound = np.min(w @ rows.T, axis=1)
    assert np.all(bound <= lowest + 1e-9)
    assert np.mean(bound < 0) <= np.mean(lowest < 0) + 0.1
