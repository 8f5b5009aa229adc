"""One potential from several systems: noises of their own, explicit weights, components that some of them lack."""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.posterior import curves
from tests.inference import systems

POTENTIAL = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.03))
PLAN = Sampling(chains=1, warmup=1, draws=300)
pytestmark = pytest.mark.filterwarnings("ignore:Pareto k", "ignore:no pair term")


@pytest.fixture(scope="module")
def trajectories():
    """The same liquid at two system sizes, with noises of 20 and 60 kJ/mol/nm."""
    small, large = systems.lennard_jones(10, seed=12), systems.lennard_jones(10, beads=216, seed=13)
    large.attrs["source"] = "large"
    return systems.with_noise(small, 20.0, 0), systems.with_noise(large, 60.0, 1)


@pytest.fixture(scope="module")
def parts(trajectories):
    pilot = bcg.fit_pilot(POTENTIAL, trajectories[0])
    return [bcg.force_statistics(POTENTIAL, data, pilot=pilot) for data in trajectories]


def test_every_system_has_its_own_noise(parts):
    both = parts[0] + parts[1]
    assert both.noise_names == ("A_A125", "A_A216")
    assert "2 systems" in repr(both)
    posterior = bcg.force_match(
        POTENTIAL, both, method="laplace", calibration="none", settings=PLAN, key=jax.random.key(0)
    )["posterior"]
    for name, expected in (("noise_A_A125", 20.0), ("noise_A_A216", 60.0)):
        noise = posterior[name]
        assert abs(float(noise.mean()) - expected) < 4 * float(noise.std()) + 0.01 * expected


@pytest.mark.parametrize("calibration", ["godambe", "none"])
def test_together_they_know_more_than_either(parts, calibration):
    r = np.linspace(0.35, 0.75, 30)

    def width(statistics):
        tree = bcg.force_match(
            POTENTIAL, statistics, method="laplace", calibration=calibration, settings=PLAN, key=jax.random.key(1)
        )
        force = curves(POTENTIAL, "A-A", tree["posterior"]["coefficients"].values[0], r)[1]
        assert np.sqrt(np.mean(((force.mean(0) - systems.true_force(systems.LJ, r)) / force.std(0)) ** 2)) < 2
        return force.std(0).mean()

    alone = [width(part) for part in parts]
    assert width(parts[0] + parts[1]) < min(alone)


def test_weights_multiply_the_likelihood(parts, trajectories):
    doubled = parts[0] + parts[1].weighted(2.0)
    with pytest.raises(ValueError, match="weigh before adding"):
        doubled.weighted(1.0)
    total = doubled.total()
    np.testing.assert_allclose(total.gram[1], 2 * parts[1].total().gram[0], rtol=1e-12)
    np.testing.assert_allclose(total.components, [10 * 125 * 3, 2 * 10 * 216 * 3])
    # Scores of a system enter squared: twice the weight is four times their covariance.
    one = parts[1].score_covariance(np.ones(1))
    np.testing.assert_allclose(parts[1].weighted(2.0).score_covariance(np.ones(1)), 4 * one, rtol=1e-12)
    expected = parts[0].score_covariance(np.array([0.5])) + 4 * parts[1].score_covariance(np.array([0.25]))
    np.testing.assert_allclose(doubled.score_covariance(np.array([0.5, 0.25])), expected, rtol=1e-12)


def test_equal_systems_are_one(parts, trajectories):
    data = trajectories[0].isel(frame=slice(0, 5)).assign_attrs(source="again")
    together = parts[0] + bcg.force_statistics(POTENTIAL, data, pilot=parts[0].pilot)
    assert together.noise_names == ("A",)
    named = parts[0] + bcg.force_statistics(POTENTIAL, data, pilot=parts[0].pilot, system="another state")
    assert len(named.noise_names) == 2


def test_saved_and_loaded(parts, tmp_path):
    both = parts[0] + parts[1].weighted(3.0)
    again = bcg.load(bcg.save(both, tmp_path / "both.nc"))
    assert again.weights == {"A125": 1.0, "A216": 3.0}
    assert again.systems == both.systems
    assert again.pilot == both.pilot
    np.testing.assert_array_equal(again.total().gram, both.total().gram)
    np.testing.assert_array_equal(again.score_covariance(np.ones(2)), both.score_covariance(np.ones(2)))


def test_a_pure_component_may_lack_the_other():
    data = systems.with_noise(systems.lennard_jones(12, seed=14), 30.0, 0)
    mixed = data.assign_coords(bead_type=("bead", np.where(np.arange(125) % 2, "B", "A")))
    potential = bcg.Potential(*(bcg.Pair(a, b, systems.CUTOFF, knot_spacing=0.05) for a, b in ("AA", "AB", "BB")))
    pure = systems.with_noise(systems.lennard_jones(6, seed=15), 30.0, 1).assign_attrs(source="pure")
    pilot = bcg.fit_pilot(potential, mixed)
    with pytest.raises(ValueError, match="names bead type 'B'"):
        bcg.force_statistics(potential, pure, pilot=pilot)
    alone = bcg.force_statistics(potential, pure, pilot=pilot, system="pure")
    assert alone.counts["A-B"].sum() == 0
    unlike = bcg.Potential(bcg.Pair("A", "B", systems.CUTOFF, knot_spacing=0.05))
    assert bcg.force_statistics(unlike, pure, system="pure").counts["A-B"].sum() == 0
    with pytest.raises(ValueError, match="no system has any interaction"):
        bcg.force_match(potential, alone, method="laplace", key=jax.random.key(0))
    both = alone + bcg.force_statistics(potential, mixed, pilot=pilot, system="mixed")
    assert both.noise_names == ("A_mixed", "B_mixed", "A_pure")
    tree = bcg.force_match(potential, both, method="laplace", settings=PLAN, key=jax.random.key(0))
    draws = tree["posterior"]["coefficients"].values[0]
    r = np.linspace(0.36, 0.7, 20)
    width = {}
    for name in ("A-A", "A-B", "B-B"):
        force = curves(potential, name, draws, r)[1]
        z = (force.mean(0) - systems.true_force(systems.LJ, r)) / force.std(0)
        assert np.sqrt(np.mean(z**2)) < 2
        width[name] = force.std(0).mean()
    assert width["A-A"] < width["B-B"]  # the pure component has told more about its own pairs
