"""Which system to simulate next: against sums that really hold the new run, and on sides that are plain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.transfer import System, choosing, fit, layout, next_reference, predict, sensitivity
from bayescg.transfer.gaussian import cavity, eliminate
from bayescg.transfer.model import design_at, factors, lift_and_mean, ratios_at
from tests.transfer import world

QUICK = bcg.Sampling(chains=1, warmup=1, draws=30)
PLACES = [(0.1, 0.2), (0.3, 0.8), (0.2, 0.5), (0.4, 0.4), (0.25, 0.15)]


def state(x):
    return {"a": x[0], "b": x[1]}


@pytest.fixture(scope="module")
def posterior():
    """All systems lie at small a."""
    systems = [
        System(
            bcg.force_statistics(world.POTENTIAL, world.with_noise(world.frames(world.fluid(x), 2, k), k)),
            descriptors=state(x),
        )
        for k, x in enumerate(PLACES)
    ]
    return fit(systems, method="laplace", settings=QUICK, key=jax.random.key(0))


def test_gains_are_those_of_sums_that_hold_the_run(posterior, monkeypatch):
    """With the data of the nearest system at the candidate, the variance of the target drops by what was said."""
    monkeypatch.setattr(choosing, "_DRAWS", 1)
    candidate, target = (0.8, 0.5), (0.9, 0.6)
    found = next_reference(posterior, [state(candidate)], [state(target)])
    stored = layout.read(posterior)
    with double_precision():
        x = np.array([candidate, target])
        problem = choosing._extended(stored, x)
        value = {name: jnp.asarray(v[0]) for name, v in stored.values.items()}
        new = jnp.asarray(choosing._contact_ratios(stored, x, {n: v[None] for n, v in value.items()})[0])
        contact = np.array([r.distance for r in stored.model.axes]) / np.asarray(new[1])
        rows = jnp.asarray(choosing._rows(stored, None, contact[None])[0])
        known = ratios_at(problem._replace(sums=jax.tree.map(lambda a: a[:-2], problem.sums)), value)
        design = design_at(problem, value, jnp.concatenate([known, new]))
        lift = lift_and_mean(problem.model, new[1])[0] @ jax.scipy.linalg.block_diag(*factors(problem.model, value))
        near = int(
            np.linalg.norm(
                stored.axes.standardized(x[0]) - stored.axes.standardized(stored.axes.values), axis=1
            ).argmin()
        )
        variances = []
        for each in (design, design._replace(x=design.x.at[-2].set(design.x[near]))):
            spread = cavity(each, eliminate(each), len(PLACES) + 1).spread
            variances.append(float(jnp.sum((rows @ lift @ spread) ** 2)))
    assert float(found["variance"][0]) == pytest.approx(variances[0], rel=1e-6)
    assert float(found["gain"][0]) == pytest.approx(variances[0] - variances[1], rel=1e-6)
    assert float(found["left"][0, 0]) == pytest.approx(variances[1] / variances[0], rel=1e-6)


def test_a_near_run_says_most_and_cost_counts(posterior):
    far, near, target = state((0.2, 0.3)), state((0.88, 0.6)), state((0.9, 0.6))
    found = next_reference(posterior, [far, near, target], [target])
    assert found["gain"].values.argmax() == 2  # also about the target's own part
    assert found["gain"][1] > found["gain"][0] > 0
    assert found.attrs["best"] == 2
    assert np.all(found["left"].values > 0)
    assert np.all(found["left"].values < 1)
    dear = next_reference(posterior, [far, near, target], [target], cost=[1.0, 1.0, 1e6])
    assert dear.attrs["best"] == 1
    assert float(dear["candidate_a"][1]) == 0.88


def test_sensitivity_is_the_slope_of_the_observable(posterior):
    """Of the energy itself: d<U>/dw = <A> - beta Cov(U, A); by differences of reweighted averages."""
    one = predict(posterior, state((0.2, 0.3)), key=jax.random.key(1))
    start = world.frames(world.fluid((0.2, 0.3)), 1, 7)
    run = bcg.simulate(one, start, time=10.0, dynamics=bcg.Langevin(interval=0.1), engine="jax", key=jax.random.key(2))
    rows = sensitivity(one, run, bcg.observables.potential_energy)
    energies = run["basis_energy"].values[0].astype(float)
    total = run["potential_energy"].values[0].astype(float)
    beta = 1 / (bcg.units.BOLTZMANN * world.KELVIN)
    expected = energies.mean(axis=0) - beta * np.mean((total - total.mean())[:, None] * energies, axis=0)
    used = np.abs(expected) > 1e-6 * np.abs(expected).max()
    per = rows[0][used] / expected[used]
    np.testing.assert_allclose(per, per[0], rtol=1e-3)
    two = bcg.simulate(
        one, start, time=4.0, draws=2, dynamics=bcg.Langevin(interval=0.1), engine="jax", key=jax.random.key(3)
    )
    with pytest.raises(ValueError, match="the reference is of 2 draws"):
        sensitivity(one, two, bcg.observables.potential_energy)
    found = next_reference(posterior, [state((0.5, 0.5))], [state((0.2, 0.3))], observable=[rows])
    assert 0 < float(found["left"][0, 0]) < 1


def test_bad_questions_are_refused(posterior):
    good = [state((0.5, 0.5))]
    for arguments, choices, words in (
        (([], good), {}, "at least one candidate"),
        (([{"a": 1.0}], good), {}, "descriptors must be a, b"),
        (([{"a": np.nan, "b": 0.0}], good), {}, "finite"),
        ((good, good), {"cost": [0.0]}, "cost must be 1 positive numbers"),
        ((good, good), {"observable": [np.ones((2, 3))]}, "one for each target"),
    ):
        with pytest.raises(ValueError, match=words):
            next_reference(posterior, *arguments, **choices)
