"""Structure matching on dimers of a known bond, both equations together, their test against each other, bad input."""

import dataclasses

import jax
import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.inference.linear import combination
from bayescg.inference.linear.consistency import consistency
from bayescg.inference.pilot import fit_pilot
from bayescg.posterior import curves
from bayescg.potentials import Bond, Pair, Potential
from bayescg.units import BOLTZMANN
from tests.inference import dimers
from tests.seeds import shifted

PLAN = Sampling(chains=1, warmup=1, draws=400)
FRAMES, DIMERS, NOISE = 60, 300, 200.0
GRID = np.linspace(0.3, 0.41, 23)


def slope(x, h=1e-6):
    return (dimers.energy(x + h) - dimers.energy(x - h)) / (2 * h)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """Dimers with exact forces and independent noise on every bead."""
    lengths = dimers.sample(dimers.energy, FRAMES, DIMERS, shifted(0))
    cg = dimers.dataset(lengths, seed=shifted(1))
    x = cg["positions"].values.reshape(FRAMES, DIMERS, 2, 3)
    pull = -slope(lengths)[..., None] * (x[:, :, 1] - x[:, :, 0]) / lengths[..., None]
    forces = np.stack([-pull, pull], axis=2).reshape(FRAMES, -1, 3)
    forces += np.random.default_rng(shifted(2)).normal(scale=NOISE, size=forces.shape)
    return bcg.data.with_forces(cg, forces, check=False)


@pytest.fixture(scope="module")
def statistics(data):
    return bcg.force_statistics(dimers.potential(), data, structure=True)


def z_of(posterior, potential):
    draws = posterior["posterior"]["coefficients"].values.reshape(-1, potential.n_basis)
    force = curves(potential, "bond_A-A", draws, GRID)[1]
    return (force.mean(axis=0) + slope(GRID)) / force.std(axis=0), force.std(axis=0)


def test_a_pass_with_structure_leaves_the_sums_of_forces_as_they_are(data, statistics):
    pilot = statistics.pilot
    plain = bcg.force_statistics(dimers.potential(), data, pilot=pilot)
    only = bcg.force_statistics(dimers.potential(), data.drop_vars("forces"), pilot=pilot, structure="only")
    (source,) = plain.scores
    for field in ("gram", "cross", "square", "components"):
        np.testing.assert_array_equal(getattr(statistics.total(), field), getattr(plain.total(), field))
    assert not plain.total().divergence.any()
    for equation, alone in (("forces", plain), ("structure", only)):
        scores = alone.scores[source]
        np.testing.assert_allclose(statistics.of(equation).scores[source], scores, atol=1e-13 * np.abs(scores).max())
    np.testing.assert_allclose(only.of("structure").total().cross, statistics.of("structure").total().cross, rtol=1e-12)
    kT = BOLTZMANN * dimers.KELVIN
    np.testing.assert_allclose(only.of("structure").total().cross, -kT * only.total().divergence, rtol=1e-12)


def test_statistics_with_structure_survive_files_and_sums(data, statistics, tmp_path):
    found = bcg.load(bcg.save(statistics, tmp_path / "sums.nc"))
    assert found.equations == ("forces", "structure")
    np.testing.assert_array_equal(found.total().divergence, statistics.total().divergence)
    pilot = statistics.pilot
    halves = [
        bcg.force_statistics(dimers.potential(), data.isel(frame=part), pilot=pilot, structure=True)
        for part in (slice(0, 17), slice(17, None))
    ]
    whole = halves[0] + halves[1]
    np.testing.assert_allclose(whole.total().divergence, statistics.total().divergence, rtol=1e-10)
    with pytest.raises(ValueError, match="with the same structure="):
        halves[0] + bcg.force_statistics(dimers.potential(), data.isel(frame=slice(17, None)), pilot=pilot)


def test_structure_finds_the_known_bond(statistics):
    posterior = bcg.structure_match(
        statistics.potential, statistics, method="laplace", settings=PLAN, key=jax.random.key(shifted(3))
    )
    z, sd = z_of(posterior, statistics.potential)
    assert np.abs(z).max() < 3.5
    assert np.sqrt(np.mean(z**2)) < 1.8
    assert np.median(sd) < 0.1 * np.abs(slope(GRID)).max()
    attrs = posterior["posterior"].attrs
    assert attrs["held_out_structure"] == pytest.approx(1.0, abs=5 * attrs["held_out_structure_se"] + 0.02)
    assert attrs["equations"] == "structure"


def test_both_together_are_closer_than_either_claims(statistics):
    found = {
        structure: z_of(
            bcg.force_match(
                statistics.potential,
                statistics,
                structure=structure,
                method="laplace",
                settings=PLAN,
                key=jax.random.key(shifted(4)),
            ),
            statistics.potential,
        )
        for structure in (False, True)
    }
    assert np.abs(found[True][0]).max() < 3.5
    assert np.median(found[True][1] / found[False][1]) < 0.98


def test_weights_are_those_of_two_independent_estimates():
    # In one direction F / (F + 1.5 S); never where structure may not be used.
    weight = combination.weights(np.array([[2.0]]), np.array([[4.0]]), np.eye(1))
    np.testing.assert_allclose(weight, [[2.0 / (2.0 + 6.0)]])
    two = combination.weights(np.diag([1.0, 1.0]), np.diag([1.0, 100.0]), np.eye(2)[:, 1:])
    np.testing.assert_allclose(two, np.diag([0.0, 1 / 151.0]))
    rng = np.random.default_rng(shifted(5))
    a, b = (m @ m.T + np.eye(6) for m in rng.normal(size=(2, 6, 6)))
    values = np.linalg.eigvals(combination.weights(a, b, np.eye(6)))
    assert np.all((values.real > 0) & (values.real < 1))


def test_consistency_tells_wrong_temperatures_and_units_from_right_data(statistics):
    assert consistency(statistics).p > 1e-3
    hot = dataclasses.replace(statistics, temperature=statistics.temperature * 300 / 320)
    found = consistency(hot)
    assert found.p < 1e-3
    assert found.ratio == pytest.approx(320 / 300, abs=5 * found.ratio_se)
    assert "wrong temperature" in str(found.doubt)
    scaled = {key: s._replace(cross=4.184 * s.cross, square=4.184**2 * s.square) for key, s in statistics.sums.items()}
    assert consistency(dataclasses.replace(statistics, sums=scaled)).p < 1e-6


def test_frames_for_which_the_equations_do_not_hold_are_refused(data):
    plain = data.drop_vars("forces")
    boxes = plain["box"].values * (1 + 0.01 * np.arange(FRAMES))[:, None, None]
    cases = {
        "the box changes": plain.assign(box=(plain["box"].dims, boxes)),
        "has no mass": plain.assign_coords(mass=("bead", np.where(np.arange(2 * DIMERS) == 3, 0.0, 1.0))),
        "as if by a rigid constraint": dimers.dataset(np.full((5, 4), 0.35)),
    }
    for said, bad in cases.items():
        with pytest.raises(ValueError, match=said) as error:
            bcg.structure_match(dimers.potential(), bad, key=jax.random.key(0))
        assert str(error.value).count("\n") == 0


def test_options_that_cannot_be_are_refused(data, statistics):
    potential, key = statistics.potential, jax.random.key(0)
    with pytest.raises(ValueError, match="needs a noise model"):
        bcg.structure_match(potential, statistics, calibration="none", method="laplace", key=key)
    with pytest.raises(ValueError, match="needs the scores' covariance"):
        bcg.force_match(potential, statistics, structure=True, method="rvm", key=key)
    with pytest.raises(ValueError, match=r"not of structure: make them with .*structure=True"):
        bcg.structure_match(potential, bcg.force_statistics(potential, data), key=key)
    with pytest.raises(ValueError, match="hold no forces"):
        bcg.force_match(potential, data.drop_vars("forces"), structure=True, key=key)
    with pytest.raises(ValueError, match='choose False, True or "only"'):
        fit_pilot(potential, data, structure="both")


def test_no_box_is_refused_for_pairs(data):
    potential = Potential(Pair("A", "A", 0.5))
    with pytest.raises(ValueError, match="box") as error:
        bcg.structure_match(potential, data.assign(box=0.0 * data["box"]), key=jax.random.key(0))
    assert str(error.value).count("\n") == 0


def test_constraints_of_several_lengths_are_seen():
    lengths = np.broadcast_to(np.linspace(0.3, 0.4, 6), (5, 6))
    with pytest.raises(ValueError, match="rigid constraint"):
        bcg.force_statistics(Potential(Bond("A", "A", start=0.2, stop=0.5)), dimers.dataset(lengths), structure="only")
