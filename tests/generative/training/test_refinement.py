"""Rare states: seen more often, moved within, and weighed back."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.atomistic import LogDensity
from bayescg.generative.discovery import Training
from bayescg.generative.model.latent_model import add_defensive_density, trainable
from bayescg.generative.particles.moves import move_cost
from bayescg.generative.particles.smc import Particles, rejuvenate
from bayescg.generative.training.checkpoint import Checkpoint
from bayescg.generative.training.flattening import Flattening, oversampling_factor
from bayescg.generative.training.objectives import forward_bound, reverse_bound
from bayescg.generative.training.refinement import Spread, _sharpen, _unit_scale, spread_out
from bayescg.generative.training.replay import replay_data
from bayescg.generative.training.training import SLOW, train
from tests.generative.models import random_model, written
from tests.seeds import shifted

RARE, SHARP, WIDTH = 0.1, 12.0, 0.5
"""Share of the well at half a turn; of both, the concentration; width of the stiff coordinate."""
PERIODIC = np.array([True, False])


def _log_density(y):
    wells = jnp.stack([np.log(1 - RARE) + SHARP * jnp.cos(y[0]), np.log(RARE) - SHARP * jnp.cos(y[0])])
    return jax.nn.logsumexp(wells) - 0.5 * (y[1] / WIDTH) ** 2


TARGET = LogDensity(_log_density, [0.0, 0.0], [np.pi, WIDTH], periodic=PERIODIC)


def rare(coordinates) -> np.ndarray:
    return np.cos(coordinates[..., 0]) < 0


def drawn(count: int, share: float = RARE, seed: int = 0) -> np.ndarray:
    """Exact samples, of the two wells in given shares."""
    rng = np.random.default_rng(shifted(seed))
    middle = np.where(np.arange(count) < share * count, np.pi, 0.0)
    torsion = (middle + rng.vonmises(0, SHARP, count) + np.pi) % (2 * np.pi) - np.pi
    return np.stack([torsion, WIDTH * rng.normal(size=count)], axis=1)


def particles(coordinates) -> Particles:
    n = len(coordinates)
    return Particles(coordinates, np.full(n, 1 / n), 0.0, 0.1, 77, 0.5, np.array([0.3, WIDTH]))


def model(scale: float = 2.0):
    """z = scale cos(torsion): it tells the wells apart."""
    return written(
        lambda f: (scale * f[1:2], jnp.full(1, -2.0)), lambda z: (jnp.zeros(2), jnp.zeros(2)), 2, periodic=PERIODIC
    )


def test_flattening():
    """Between two wells of one shape as the root of their shares; single outliers do not count; dead latents do not."""
    samples = drawn(4000)
    flattening = Flattening(model(), samples)
    factor, there = flattening.factor(samples), rare(samples)
    ratio = np.median(factor[there]) / np.median(factor[~there])
    assert ratio == pytest.approx(np.sqrt((1 - RARE) / RARE), rel=0.3)
    between = flattening.factor(np.array([[np.pi / 2, 0.0]]))
    assert between == pytest.approx(30 * np.median(factor), rel=0.2)
    np.testing.assert_array_equal(Flattening(model(0.0), samples).factor(samples), np.ones(4000))


@pytest.mark.parametrize("turns", [0, 8])
def test_turns_lead_to_the_other_well(turns):
    """From particles of one well: with turns both fill in their shares, without none leaves; the density is kept."""
    count, sweeps = 1000, 12
    moved, swept = rejuvenate(
        TARGET, particles(drawn(count, 0.0)), sweeps=sweeps, turns=turns, key=jax.random.key(shifted(0))
    )
    share = rare(swept).mean(axis=1)
    if not turns:
        assert np.all(share == 0)
    else:
        assert np.mean(share[-8:]) == pytest.approx(RARE, abs=4 * np.sqrt(RARE * (1 - RARE) / count))
    assert moved.evaluations == 77 + sweeps * count * (move_cost(PERIODIC, turns) + 1)
    check_within(swept[-8:].reshape(-1, 2), count)


def check_within(y, independent: int) -> None:
    """Each coordinate given the well: mean and second moment, to four errors of so many samples."""
    exact = np.random.default_rng(shifted(9)).vonmises(0, SHARP, 400_000)
    away = np.where(rare(y), y[:, 0] - np.pi, y[:, 0])
    away = (away + np.pi) % (2 * np.pi) - np.pi
    for value, scale in ((away, exact.std()), (y[:, 1], WIDTH)):
        assert abs(np.mean(value)) < 4 * scale / np.sqrt(independent)
        assert np.mean(value**2) / scale**2 == pytest.approx(1.0, abs=4 * np.sqrt(2 / independent))


@pytest.fixture(scope="module")
def spread():
    """Of particles with few in the rare well."""
    samples = drawn(4000)
    factor = np.where(rare(samples), 4.0, 1.0)
    return (
        samples,
        factor,
        spread_out(TARGET, particles(samples[::2]), samples, factor, sweeps=4, key=jax.random.key(shifted(1))),
    )


def test_rare_states_are_spread_out(spread):
    """More particles there, as many as the factor says; within a well they are the target's; no move leads back."""
    samples, factor, found = spread
    expected = factor[rare(samples)].sum() / factor.sum()
    assert expected > 2 * RARE
    by_sweep = rare(found.coordinates).reshape(4, 2000)
    assert by_sweep[0].mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 2000))
    np.testing.assert_array_equal(by_sweep, np.tile(by_sweep[0], (4, 1)))
    assert found.evaluations == 4 * 2000 * 17
    last = found.coordinates[-2000:]
    for well in (True, False):
        check_within(last[rare(last) == well], int(np.sum(rare(last) == well)))
    assert not np.allclose(found.coordinates[:2000], last)


def test_samples_are_shown_in_proportion():
    """Batches hold each sample as often as its factor says."""
    factor = np.array([1.0, 0.0, 3.0])
    batch = np.asarray(replay_data(np.arange(3.0)[:, None], factor).batch(40_000, key=jax.random.key(shifted(0))))[:, 0]
    share = np.bincount(batch.astype(int), minlength=3) / 40_000
    np.testing.assert_allclose(share, factor / 4, atol=4 * np.sqrt(3 / 16 / 40_000))
    equal = np.asarray(replay_data(np.arange(3.0)[:, None]).batch(40_000, key=jax.random.key(shifted(1))))[:, 0]
    np.testing.assert_allclose(np.bincount(equal.astype(int)) / 40_000, 1 / 3, atol=0.01)


def test_what_a_model_misses_is_shown_more_often():
    """As the root of p / q about the typical sample, a hundred times at most; where q gives no number, too."""
    ratio = np.array([-1.0, 0.0, 1.0, 4.0, 30.0, np.inf])
    exact = np.exp(0.5 * (ratio - 1.0))
    np.testing.assert_allclose(oversampling_factor(ratio), np.minimum(exact, 100.0))


def test_held_density_of_latents():
    """With q(z) held the bound has the same value, no slope by q(z), and the slope of the decoder given z."""
    strong = random_model(PERIODIC, decoder="gaussian", flexible_prior=True, latents=2)
    weights, rest = eqx.partition(strong, trainable(strong))

    def bound(weights, *, held):
        return reverse_bound(eqx.combine(weights, rest), TARGET, 1.0, 64, held=held, key=jax.random.key(5))

    both = jax.jit(jax.value_and_grad(bound), static_argnames="held")
    (value, slope), (free_value, free_slope) = both(weights, held=True), both(weights, held=False)
    assert value == pytest.approx(float(free_value), rel=1e-6)
    assert all(not np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(slope.prior))
    assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(free_slope.prior))
    assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(slope.decoder))


def test_weights_of_samples_teach_q_of_z_alone():
    """Without weight a sample teaches the decoder as before and q(z) nothing; the bound is linear in the weights."""
    model = random_model(PERIODIC, decoder="gaussian", flexible_prior=True, latents=2)
    samples = jnp.asarray(drawn(64), jnp.float32)
    weights, rest = eqx.partition(model, trainable(model))

    @jax.jit
    def bound(w, information):
        return forward_bound(eqx.combine(w, rest), samples, information=information, key=jax.random.key(0))

    ones, rare_only = np.ones(64, np.float32), rare(samples).astype(np.float32)
    values = [float(bound(weights, w)) for w in (ones, rare_only, ones - rare_only, 0.0)]
    assert values[0] + values[3] == pytest.approx(values[1] + values[2], rel=1e-5)
    assert values[0] == pytest.approx(float(bound(weights, 1.0)), rel=1e-6)
    slopes = jax.jit(jax.grad(bound))
    full, none = slopes(weights, 1.0), slopes(weights, 0 * ones)
    assert all(not np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(none.prior))
    assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(full.prior))
    for one, other in zip(jax.tree.leaves(full.decoder), jax.tree.leaves(none.decoder), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_draws_with_overlapping_atoms_do_not_decide_a_step():
    """A quarter of the draws is in a wall a million kT high: without a bound its slope is all that there is."""
    model = random_model(np.array([False, False]), decoder="gaussian")
    wall = LogDensity(lambda y: -0.5 * jnp.sum(y**2) - 1e6 * jnp.maximum(y[1] - 0.3, 0.0), [0.0, 0.0], [1.0, 1.0])
    weights, rest = eqx.partition(model, trainable(model))

    def slope(largest):
        def bound(w):
            return reverse_bound(eqx.combine(w, rest), wall, 1.0, 256, largest=largest, key=jax.random.key(5))

        found = jax.tree.leaves(jax.jit(jax.grad(bound))(weights))
        return np.sqrt(sum(np.sum(np.asarray(leaf) ** 2) for leaf in found))

    assert slope(30.0) < 100
    assert slope(1e9) > 1e4


def test_what_training_leaves_alone_and_what_it_changes_slowly():
    model = add_defensive_density(random_model(PERIODIC, decoder="gaussian", flexible_prior=True, latents=2))

    def loss(model, done, *, key):
        leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves) + 0.0 * done

    options = {"steps": 10, "frozen": lambda m: m.defensive, "slow": lambda m: m.encoder, "key": jax.random.key(0)}
    trained = train(model, loss, **options).model
    assert equal(trained, model, "defensive")
    assert equal(trained, model, "whitening")
    moved = {name: largest_move(trained, model, name) for name in ("decoder", "encoder", "prior")}
    # Adam: the largest step is the learning rate, whatever the slope.
    assert moved["encoder"] == pytest.approx(SLOW * moved["decoder"], rel=0.05)
    assert moved["decoder"] == pytest.approx(moved["prior"], rel=0.05)


def largest_move(one, other, name: str) -> float:
    parts = [jax.tree.leaves(eqx.filter(getattr(model, name), eqx.is_inexact_array)) for model in (one, other)]
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in zip(*parts, strict=True))


def test_the_decoder_learns_first():
    """From samples alone, at no cost; encoder and whitening stay, the bound falls, rare samples' factors count."""
    model = random_model(PERIODIC, decoder="gaussian", flexible_prior=True, latents=2)
    draw = jax.jit(jax.vmap(lambda k: model.sample(key=k)[0]))
    samples = np.asarray(draw(jax.random.split(jax.random.key(shifted(1)), 400))) + 0.3
    spread, training = Spread(samples, np.ones(400), 0), Training(sharpening_steps=200, batch=64)
    store = Checkpoint(None, {})
    trained, interrupted = _sharpen(model, samples, np.ones(400), spread, training, store, jax.random.key(shifted(2)))
    assert not interrupted
    assert equal(trained, model, "encoder")
    bound = eqx.filter_jit(lambda m: forward_bound(m, samples, key=jax.random.key(shifted(3))))
    before, after = float(bound(model)), float(bound(trained))
    assert after < before - 0.5
    none = Training(sharpening_steps=0)
    assert _sharpen(model, samples, np.ones(400), spread, none, store, jax.random.key(shifted(2)))[0] is model


def equal(one, other, name: str) -> bool:
    arrays = (jax.tree.map(np.asarray, eqx.filter(getattr(model, name), eqx.is_array)) for model in (one, other))
    return bool(eqx.tree_equal(*arrays))


def test_unit_scale():
    """Zero at mean zero and variance one, half a mean's square away from it, and it grows with any other scale."""
    z = np.random.default_rng(shifted(0)).normal(size=(1000, 2))
    z = jnp.asarray((z - z.mean(axis=0)) / z.std(axis=0))
    scale = jax.jit(_unit_scale)
    assert float(scale(z)) == pytest.approx(0.0, abs=1e-3)
    assert float(scale(z + np.array([2.0, 0.0], np.float32))) == pytest.approx(2.0, abs=0.01)
    assert float(scale(3 * z)) > 1
    assert float(scale(z / 3)) > 0.5
