"""Weighted draws of models that are wrong on purpose: what comes out is right, and its errors are honest."""

import importlib.util

import jax
import jax.numpy as jnp
import MDAnalysis as mda
import numpy as np
import pytest
from MDAnalysis.coordinates.memory import MemoryReader

from bayescg._runtime import double_precision
from bayescg.atomistic import bimodal
from bayescg.generative import average, encode, free_energy, sample
from tests.seeds import shifted

from .models import bimodal_model, random_model, written

X1 = {"x1": lambda s: s["coordinates"][:, 0].values, "right": lambda s: s["coordinates"][:, 0].values > 0.16746}
EXACT = {"log_z": 12.06493, "x1": -2.44110, "right": 0.008346}


@pytest.fixture(scope="module")
def drawn():
    """A model with ten times too much in the right well, whose Gaussians are too broad and beside the wells."""
    model = bimodal_model(right=0.08, width=0.8, left=0.6, narrow=True)
    return sample(model, bimodal(), draws=20_000, observables=X1, key=jax.random.key(shifted(0)))


def test_a_wrong_model_gives_right_answers(drawn):
    """Within four errors, which are small: log Z, mean, and the mass of the well."""
    estimates = drawn["estimates"]
    assert drawn.attrs["reliable"] == 1
    assert drawn.attrs["pareto_k"] < 0.7
    for name, expected in EXACT.items():
        error = float(estimates[f"{name}_se"])
        assert 0 < error < 0.05
        assert abs(float(estimates[name]) - expected) < 4 * error, name
    # Unweighted draws are wrong, and by how much the effective samples say.
    samples = drawn["samples"].to_dataset()
    assert np.mean(X1["right"](samples)) == pytest.approx(0.08, abs=0.01)
    weights = np.exp(samples["log_weight"].values)
    assert weights.sum() == pytest.approx(1.0)
    assert drawn.attrs["ess"] == pytest.approx(1 / np.sum(weights**2))
    assert 0.02 < drawn.attrs["ess_share"] < 0.95
    assert drawn.attrs["evaluations"] == 20_480
    np.testing.assert_allclose(samples["log_target"], -_energy(samples["coordinates"].values), rtol=1e-6, atol=1e-5)


def _energy(x):
    return x[:, 0] ** 4 / 4 - 3 * x[:, 0] ** 2 + x[:, 0] + x[:, 1] ** 2 / 2


def test_errors_are_calibrated():
    """Forty replicates: deviations in units of their own errors have a spread of one."""
    model, target = bimodal_model(right=0.08, width=0.8, left=0.6, narrow=True), bimodal()
    everything = sample(model, target, draws=160_000, key=jax.random.key(shifted(7)))["samples"].to_dataset()
    found = []
    for k in range(40):
        part = everything.isel(sample=slice(4000 * k, 4000 * (k + 1)))
        part = part.assign(log_weight=part["log_weight"] - np.log(np.exp(part["log_weight"]).sum()))
        found.append([(average(part, X1[n])[0] - EXACT[n]) / average(part, X1[n])[1] for n in ("x1", "right")])
    spread = np.sqrt(np.mean(np.square(found), axis=0))
    assert np.all((spread > 0.7) & (spread < 1.4)), spread


def test_free_energies(drawn):
    """Of x1, against quadrature; empty bins have none."""
    samples = drawn["samples"].to_dataset()
    edges = np.linspace(-4, 4, 41)
    found = free_energy(samples, samples["coordinates"][:, 0], edges)
    fine = np.linspace(-4, 4, 4001)[:-1] + 0.001
    weight = np.exp(-(fine**4) / 4 + 3 * fine**2 - fine).reshape(40, 100).sum(axis=1)
    exact = -np.log(weight / weight.max())
    used = found["free_energy_se"].values < 0.2
    assert used.sum() > 15
    gap = (found["free_energy"].values - exact)[used]
    # Zero is at the estimated minimum, which has an error of its own.
    assert np.all(
        np.abs(gap) < 4.5 * np.hypot(found["free_energy_se"].values[used], float(found["free_energy_se"].min()))
    )
    np.testing.assert_allclose(found["bin"], 0.5 * (edges[1:] + edges[:-1]))
    far = free_energy(samples, samples["coordinates"][:, 0], [-4.0, 0.0, 50.0, 60.0])
    assert np.isnan(far["free_energy"][2])
    # One sample outweighs the others of its bin: the weights as a whole are good, those of the bin are not.
    heavy = samples["log_weight"].copy()
    inside = np.flatnonzero((samples["coordinates"][:, 0] > edges[13]) & (samples["coordinates"][:, 0] < edges[14]))
    heavy[inside] = np.append(heavy[inside[:1]], heavy[inside[1:]] - 12.0)
    ruled = free_energy(samples.assign(log_weight=heavy), samples["coordinates"][:, 0], edges)["free_energy_se"]
    assert np.isfinite(found["free_energy_se"][13])
    assert np.isnan(ruled[13])
    np.testing.assert_array_equal(
        np.isfinite(ruled.drop_isel(bin=13)), np.isfinite(found["free_energy_se"].drop_isel(bin=13))
    )
    with pytest.raises(ValueError, match="no sample falls between 50 and 60"):
        free_energy(samples, samples["coordinates"][:, 0], [50.0, 60.0])
    with pytest.raises(ValueError, match="two numbers that grow"):
        free_energy(samples, samples["coordinates"][:, 0], [1.0, 0.0])


def test_errors_are_withheld_where_weights_cannot_tell_them():
    """A decoder whose tail ends where the other well begins: weights without variance; nothing later gives errors."""
    model = bimodal_model(right=0.0, left=0.3)
    with pytest.warns(UserWarning, match=r"Pareto k of the weights is .* error bars are withheld"):
        tree = sample(model, bimodal(), draws=5000, observables=X1, key=jax.random.key(shifted(1)))
    assert tree.attrs["reliable"] == 0
    assert tree.attrs["pareto_k"] >= 0.7
    assert np.isnan(tree["estimates"]["log_z_se"])
    assert np.isnan(tree["estimates"]["x1_se"])
    assert np.isfinite(tree["estimates"]["x1"])
    samples = tree["samples"].to_dataset()
    assert np.isnan(average(samples, X1["x1"])[1])
    assert np.all(
        np.isnan(free_energy(samples, samples["coordinates"][:, 0], np.array([-4.0, -2.5, 0.0]))["free_energy_se"])
    )


def test_observables_have_shapes():
    model = bimodal_model(right=0.08, width=0.8, left=0.6, narrow=True)
    both = {"mean": lambda s: s["coordinates"], "outer": lambda s: np.ones((len(s["sample"]), 2, 3))}
    tree = sample(model, bimodal(), draws=500, observables=both, key=jax.random.key(0))
    assert tree["estimates"]["mean"].shape == tree["estimates"]["mean_se"].shape == (2,)
    np.testing.assert_allclose(tree["estimates"]["outer"], np.ones((2, 3)))
    np.testing.assert_allclose(tree["estimates"]["outer_se"], np.zeros((2, 3)), atol=1e-7)
    for wrong in (lambda s: 1.0, lambda s: np.ones(3)):
        with pytest.raises(ValueError, match=r"returned shape .* for 500 samples"):
            average(tree["samples"].to_dataset(), wrong)
    for name in ("log_z", "log_z_se"):
        with pytest.raises(ValueError, match="rename it"):
            sample(model, bimodal(), draws=500, observables={name: both["mean"]}, key=jax.random.key(0))


def test_what_does_not_belong_together_is_refused():
    model = random_model([False] * 3)
    with pytest.raises(ValueError, match="model has 3 coordinates and the target 2"):
        sample(model, bimodal(), key=jax.random.key(0))
    with pytest.raises(ValueError, match="draws is 50"):
        sample(bimodal_model(), bimodal(), draws=50, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"defensive is 1\.0"):
        sample(bimodal_model(), bimodal(), defensive=1.0, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"shape \(5, 2\); the model takes \(frame, 3\)"):
        encode(model, np.zeros((5, 2)))
    with pytest.raises(ValueError, match="positions need the molecule's target"):
        encode(model, np.zeros((5, 3, 3)))
    with pytest.raises(ValueError, match="frame 2 is empty or not finite"):
        encode(model, np.where(np.arange(5)[:, None] == 2, np.nan, np.zeros((5, 3))))
    with pytest.raises(ValueError, match="empty"):
        encode(model, np.zeros((0, 3)))


def test_encode_is_the_encoders_mean():
    model = written(lambda u: (3 * u[:1] + 1, jnp.zeros(1)), lambda z: (jnp.zeros(2), jnp.zeros(2)), 2)
    y = np.random.default_rng(0).normal(size=(700, 2))
    np.testing.assert_allclose(encode(model, y)[:, 0], 3 * y[:, 0] + 1, atol=1e-5)
    assert encode(model, y).dtype == np.float64


@pytest.mark.skipif(importlib.util.find_spec("openmm") is None, reason="needs OpenMM")
def test_encode_positions_and_universes():
    """nm in arrays, angstrom in MDAnalysis; turned and moved molecules have the same variables; mirror images none."""
    from tests.atomistic.test_targets import small

    target = small()
    model = random_model(target.periodic, latents=2, decoder="gaussian", flexible_prior=False)
    y = target.location + 0.02 * np.random.default_rng(0).normal(size=(5, target.dimension))
    with double_precision():
        x = np.asarray(jax.vmap(target.to_positions)(jnp.asarray(y)))
    expected = encode(model, y)
    assert expected.shape == (5, 2)
    assert expected.std(axis=0).min() > 1e-3
    moved = x[:, :, [1, 2, 0]] + 0.7
    np.testing.assert_allclose(encode(model, moved, target), expected, atol=1e-4)
    universe = mda.Universe.empty(6, trajectory=False)
    universe.load_new((10 * moved).astype(np.float32), format=MemoryReader)
    np.testing.assert_allclose(encode(model, universe, target), expected, atol=1e-4)
    np.testing.assert_allclose(encode(model, universe.atoms, target), expected, atol=1e-4)
    with pytest.raises(ValueError, match=r"frame 0 has another handedness"):
        encode(model, moved * [1, 1, -1], target)
    with pytest.raises(ValueError, match=r"shape \(5, 5, 3\); the target has 6 atoms"):
        encode(model, moved[:, 1:], target)
