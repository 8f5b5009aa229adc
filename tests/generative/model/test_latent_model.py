"""Densities of latent models: those of their draws, normalized, kept by stronger networks and by files."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.atomistic import gaussian_mixture
from bayescg.generative.model.files import read_model, write_model
from bayescg.generative.model.latent_model import LatentModel, add_defensive_density, build_model, strengthen
from bayescg.generative.model.networks import WELL
from bayescg.generative.model.splines import Coupling, latent_flow
from bayescg.generative.model.whitening import Whitening, whitening_of_samples
from tests.generative.models import disturbed, random_model
from tests.seeds import shifted

KINDS = [("spline", (False,)), ("gaussian", (True, False)), ("spline", (False, True)), ("spline", (True, True))]


def density(model: LatentModel, points, z) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(model.log_decoder, (0, None)))(jnp.asarray(points, jnp.float32), z), float)


def grid(model: LatentModel, count: int) -> tuple[np.ndarray, float]:
    """Points that cover all that a model can reach, and the volume of a cell."""
    axes = []
    for k, free in enumerate(model.whitening.periodic):
        middle, width = (0, np.pi) if free else (float(model.whitening.location[k]), 22.0)
        # A turn is shorter.
        n = 2 * count // 3 if free else count
        axes.append(middle + width * (np.arange(n) + 0.5 - n / 2) * 2 / n)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return points, float(np.prod([axis[1] - axis[0] for axis in axes]))


@pytest.mark.parametrize(("decoder", "periodic"), KINDS)
def test_decoders_are_normalized(decoder, periodic):
    """By quadrature, with weights for which the density is no Gaussian, and the one of white coordinates is another."""
    model = random_model(periodic, decoder=decoder, latents=len(periodic))
    points, cell = grid(model, 6000 if len(periodic) == 1 else 600)
    value = density(model, points, jnp.array([0.3, -1.0])[: len(periodic)])
    assert np.sum(np.exp(value)) * cell == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("width", "symmetry"), [(0.05, 1), (0.2, 1), (20.0, 1), (20.0, 3)])
def test_wrapped_gaussians_are_normalized(width, symmetry):
    """Also those that reach over the ends; none is wider than a well."""
    whitening = Whitening.of(np.zeros(1), np.eye(1), [True], [symmetry])
    model = build_model(whitening, latents=1, key=jax.random.key(0))
    last = model.decoder.network.layers[-1]
    bias = jnp.array([-2.0, 0.1, np.log(width) + 1.5], last.bias.dtype)
    flat = jnp.asarray(np.zeros_like(last.weight))
    last = eqx.tree_at(lambda layer: (layer.weight, layer.bias), last, (flat, bias))
    model = eqx.tree_at(lambda m: m.decoder.network.layers[-1], model, last)
    turn = (np.arange(5000) + 0.5) / 5000 * 2 * np.pi - np.pi
    weight = np.exp(density(model, turn[:, None], jnp.zeros(1))) * 2 * np.pi / 5000
    assert weight.sum() == pytest.approx(1.0, abs=5e-6)
    resultant = np.sum(weight * np.exp(1j * turn))
    assert np.angle(resultant) == pytest.approx(np.arctan2(0.1, -1.0), abs=1e-4)
    assert np.sqrt(-2 * np.log(np.abs(resultant))) == pytest.approx(min(width, WELL * symmetry), rel=1e-2)


@pytest.mark.parametrize(("decoder", "periodic"), [("spline", (True, False, True))])
def test_the_density_is_that_of_the_draws(decoder, periodic):
    """What `sample` says of a draw is what `log_joint` says of it; and draws are as frequent as the density says."""
    model = random_model(periodic, decoder=decoder, latents=2, seed=3)
    y, z, log_q = jax.jit(jax.vmap(lambda k: model.sample(key=k)))(jax.random.split(jax.random.key(shifted(1)), 4000))
    again = jax.jit(jax.vmap(model.log_joint))(y, z)
    # Single precision: a stretch of a thousand leaves three digits of a white coordinate.
    assert np.quantile(np.abs(again - log_q), 0.99) < 2e-2
    assert np.median(np.abs(again - log_q)) < 1e-4
    assert np.all(np.abs(np.asarray(y)[:, list(periodic)]) <= np.pi + 1e-6)
    # For one z: the density averages to the volume of where it is, E_q [h / q] = integral of h, h a box of volume one.
    one = jnp.array([0.4, -0.3])
    u, log_density = jax.jit(jax.vmap(lambda k: model.decoder.sample(one, key=k)))(
        jax.random.split(jax.random.key(shifted(2)), 40000)
    )
    u, log_density = np.asarray(u, float), np.asarray(log_density, float)
    # A box around the middle draw, on a circle too: where draws are dense, so that the average has little noise.
    middle = u[np.argmax(log_density)]
    away = np.where(periodic, (u - middle + np.pi) % (2 * np.pi) - np.pi, u - middle)
    half = np.quantile(np.abs(away), 0.5, axis=0)
    inside = np.all(np.abs(away) < half, axis=1) / np.exp(log_density) / np.prod(2 * half)
    assert inside.std() / 200 < 0.05
    assert np.mean(inside) == pytest.approx(1.0, abs=4.5 * inside.std() / 200)


@pytest.mark.parametrize("periodic", [(False, False), (True, True)])
def test_layers_are_undone_exactly(periodic):
    """In double precision, with the volume by autodiff."""
    with double_precision():
        layer = eqx.filter_jit(lambda key: Coupling([0], [1], periodic, 2, knots=8, width=16, key=key))(
            jax.random.key(0)
        )
        rng = np.random.default_rng(0)
        layer = jax.tree.map(
            lambda w: jnp.asarray(np.asarray(w) + 0.5 * rng.normal(size=w.shape)) if eqx.is_inexact_array(w) else w,
            layer,
        )
        u = rng.uniform(-3.1, 3.1, (200, 2))
        z = np.array([0.3, -1.0])
        forward = jax.jit(jax.vmap(lambda u: layer.forward(u, z)))
        x, volume = forward(u)
        back, inverse = jax.jit(jax.vmap(lambda u: layer.inverse(u, z)))(x)
        slope = jax.jit(jax.vmap(jax.grad(lambda u: layer.forward(u, z)[0][1])))(u)
        np.testing.assert_allclose(back, u, atol=1e-7)
        np.testing.assert_allclose(inverse, volume, atol=1e-6)
        np.testing.assert_allclose(np.log(np.asarray(slope)[:, 1]), volume, atol=1e-9)
        assert np.abs(np.asarray(x) - u)[:, 1].max() > 0.5
        if periodic[1]:
            # On the circle the slope is continuous where the ends meet.
            ends = np.array([[0.2, -np.pi + 1e-9], [0.2, np.pi - 1e-9]])
            np.testing.assert_allclose(*np.asarray(forward(ends)[1]), atol=1e-6)


@pytest.mark.parametrize("latents", [1, 2])
def test_the_prior_is_normalized(latents):
    flow = eqx.filter_jit(latent_flow)(latents, key=jax.random.key(shifted(0)))
    rng = np.random.default_rng(shifted(5))

    def moved(w):
        return jnp.asarray(np.asarray(w) + (0.15 * rng.normal(size=w.shape)).astype(w.dtype))

    flow = jax.tree.map(lambda w: moved(w) if eqx.is_inexact_array(w) else w, flow)
    axis = np.linspace(-14, 14, 4001 if latents == 1 else 401)
    points = np.stack(np.meshgrid(*[axis] * latents, indexing="ij"), axis=-1).reshape(-1, latents)
    value = np.asarray(jax.jit(jax.vmap(flow.log_density))(jnp.asarray(points, jnp.float32)), float)
    assert np.sum(np.exp(value)) * (axis[1] - axis[0]) ** latents == pytest.approx(1.0, abs=6e-3)
    normal = -0.5 * np.sum(points**2, axis=1) - 0.5 * latents * np.log(2 * np.pi)
    assert np.abs(value - normal)[normal > -6].max() > 0.3
    z, log_q = jax.jit(jax.vmap(lambda k: flow.sample(key=k)))(jax.random.split(jax.random.key(shifted(1)), 2000))
    np.testing.assert_allclose(jax.jit(jax.vmap(flow.log_density))(z), log_q, atol=2e-3)


def test_a_model_of_one_latent_integrates_to_its_marginal():
    """`log_density` over many encoder draws is the quadrature over z, from below on average."""
    model = random_model([False, True], decoder="gaussian", flexible_prior=False, scale=0.3, seed=4)
    y = jnp.array([[0.5, 0.3], [-1.0, 2.0], [1.5, -2.5]])
    z = jnp.linspace(-8, 8, 2001)[:, None]
    joint = jax.jit(jax.vmap(jax.vmap(model.log_joint, (None, 0)), (0, None)))(y, z)
    exact = np.log(np.sum(np.exp(np.asarray(joint, float)), axis=1) * 16 / 2000)
    keys = jax.random.split(jax.random.key(0), 3)
    found = jax.jit(jax.vmap(lambda y, k: model.log_density(y, draws=20000, key=k)))(y, keys)
    np.testing.assert_allclose(found, exact, atol=0.03)
    few = jax.jit(jax.vmap(jax.vmap(lambda y, k: model.log_density(y, draws=2, key=k), (None, 0)), (0, None)))(
        y, jax.random.split(keys[0], 500)
    )
    assert np.all(few.mean(axis=1) < exact + 4 * few.std(axis=1) / np.sqrt(500))


@pytest.mark.parametrize("periodic", [(False, False, True)])
def test_stronger_networks_begin_with_the_same_densities(periodic):
    """To rounding, for q(z), q(y | z) and r(z | y); then the spline part changes what it says."""
    weak = random_model(periodic, decoder="gaussian", flexible_prior=False, latents=2)
    strong = strengthen(weak, key=jax.random.key(shifted(9)))
    assert strong.prior is not None
    made = {"latents": 2, "decoder": "spline", "flexible_prior": True, "defensive": False}
    assert json.loads(strong.settings) == made
    y, z, _ = jax.jit(jax.vmap(lambda k: weak.sample(key=k)))(jax.random.split(jax.random.key(shifted(1)), 500))
    for name in ("log_decoder", "log_joint"):
        first, second = (jax.jit(jax.vmap(getattr(m, name)))(y, z) for m in (weak, strong))
        np.testing.assert_allclose(first, second, atol=1e-4)
    assert eqx.tree_equal(weak.encoder, strong.encoder)
    moved = disturbed(strong, 0.2)
    assert np.abs(np.asarray(jax.jit(jax.vmap(moved.log_joint))(y, z)) - first).max() > 0.1


def test_defensive_draws():
    """z is drawn from the stated mixture: means of density ratios over its draws are one; without a share, from q."""
    model = add_defensive_density(random_model([False, True], decoder="gaussian", flexible_prior=True, latents=2))
    model = disturbed(model, 0.5, seed=1)
    keys = jax.random.split(jax.random.key(shifted(0)), 20_000)
    y, z, log_mixed = jax.jit(jax.vmap(lambda k: model.sample(defensive=0.3, key=k)))(keys)
    log_latent = np.asarray(log_mixed - jax.jit(jax.vmap(model.log_decoder))(y, z), float)
    for density in (model.prior.log_density, model.defensive.log_density):
        ratio = np.exp(np.asarray(jax.jit(jax.vmap(density))(z), float) - log_latent)
        assert ratio.std() > 0.1
        assert ratio.mean() == pytest.approx(1.0, abs=4 * ratio.std() / np.sqrt(len(z)))
    y, z, log_plain = jax.jit(jax.vmap(lambda k: model.sample(key=k)))(keys[:100])
    # Narrow Gaussians in single precision.
    np.testing.assert_allclose(log_plain, jax.jit(jax.vmap(model.log_joint))(y, z), atol=1e-3)


@pytest.mark.parametrize(("decoder", "flexible_prior"), [("gaussian", False), ("spline", True)])
def test_files(tmp_path, decoder, flexible_prior):
    """What comes back is the same to the last bit, with its whitening and report."""
    model = random_model([False, True], decoder=decoder, flexible_prior=flexible_prior)
    model = disturbed(add_defensive_density(model), 0.2, seed=2) if flexible_prior else model
    model = model.with_report({"evaluations": 7, "information": [0.5]})
    path = write_model(model, tmp_path / "folder" / "model.npz")
    back = read_model(path)
    assert jax.tree.structure(eqx.filter(back, eqx.is_array)) == jax.tree.structure(eqx.filter(model, eqx.is_array))
    assert jax.tree.all(jax.tree.map(np.array_equal, *(eqx.filter(m, eqx.is_array) for m in (back, model))))
    assert json.loads(back.report) == {"evaluations": 7, "information": [0.5]}
    assert back.whitening.periodic == (False, True)
    y, z = jnp.array([0.3, 0.2], jnp.float32), jnp.array([0.1], jnp.float32)
    joint = eqx.filter_jit(lambda m: m.log_joint(y, z))
    assert joint(back) == joint(model)


def test_files_that_hold_no_model_are_refused(tmp_path):
    path = write_model(random_model([False]), tmp_path / "model.npz")
    content = path.read_bytes()
    for wrong in (b"", b"hello", b"\xff\xfe\x00", b"[1]\n", b'{"format": 99}\n', b"{}\n", b"null\n"):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="damaged, or no file that bayescg wrote"):
            read_model(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged"):
        read_model(path)
    with pytest.raises(FileNotFoundError):
        read_model(tmp_path / "none.npz")


def test_models_that_cannot_be_are_refused():
    whitening = Whitening.of(np.zeros(2), np.eye(2), [False, True])
    for latents in (0, 3):
        with pytest.raises(ValueError, match=rf"latent_dim is {latents}; .* between 1 and the 2 degrees of freedom"):
            build_model(whitening, latents=latents, key=jax.random.key(0))
    with pytest.raises(ValueError, match="decoder is 'flow'; it must be 'spline' or 'gaussian'"):
        build_model(whitening, latents=1, decoder="flow", key=jax.random.key(0))


def test_whitening():
    """Weighted samples become white; periodic coordinates are only wrapped; there and back is the identity."""
    rng = np.random.default_rng(shifted(0))
    target = gaussian_mixture(np.zeros((1, 3)), np.eye(3)[None], [1.0])
    target = eqx.tree_at(lambda t: t.periodic, target, np.array([False, True, False]))
    y = rng.normal(size=(20000, 3)) @ np.array([[2.0, 0, 0.5], [0, 1.0, 0], [0, 0, 0.01]]).T + [3, 0, -1]
    weights = np.where(y[:, 0] > 3, 2.0, 1.0)
    whitening = whitening_of_samples(target, y, weights)
    u = np.asarray(jax.jit(jax.vmap(whitening.whiten))(y.astype(np.float32)), float)
    covariance = np.cov(u[:, [0, 2]].T, aweights=weights)
    np.testing.assert_allclose(covariance, np.eye(2), atol=0.02)
    np.testing.assert_allclose(np.average(u[:, [0, 2]], weights=weights, axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(u[:, 1], (y[:, 1] + np.pi) % (2 * np.pi) - np.pi, atol=1e-5)
    back = np.asarray(jax.jit(jax.vmap(whitening.color))(u.astype(np.float32)))
    np.testing.assert_allclose(back[:, [0, 2]], y[:, [0, 2]], atol=1e-4)
    slope = jax.jit(jax.jacfwd(whitening.color))(np.zeros(3, np.float32))
    assert np.linalg.slogdet(slope)[1] == pytest.approx(float(whitening.log_volume), abs=1e-5)
