"""Reweighting against densities whose expectations are known, and what bad input is told."""

import functools

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.special import softmax

from bayescg import observables as obs
from bayescg.observables import propagation, references, reweighting
from bayescg.potentials import Pair, Potential
from tests.seeds import shifted

from .gaussian import KT, SIZE, TEMPERATURE, ensemble, first_moment, means, posterior, rows_of

NONE = obs.Guard(references=0, simulations=0)
KEY = jax.random.key(0)


def propagate(rows, reference, observable=first_moment, guard=NONE, key=KEY):
    return obs.propagate(posterior(rows), reference, observable, draws=len(rows), guard=guard, key=key)


def test_one_reference_is_exponential_reweighting():
    rng = np.random.default_rng(shifted(0))
    base = 0.3 * rng.normal(size=SIZE)
    rows = base + 0.3 * rng.normal(size=(20, SIZE))
    reference = ensemble(base, 4000, rng)
    array = propagate(rows, reference)
    assert array.dims == ("draw", "block", "component")
    assert array.attrs["shared_reference"] == 1
    assert set(array["source"].values) == {"reweighted"}
    w = rows_of(array, rows)
    x = reference["positions"].values.reshape(-1, SIZE)
    weights = softmax(-(w - base) @ x.T, axis=1)
    np.testing.assert_allclose(means(array), weights @ x, rtol=1e-9)
    error = 1 / np.sqrt(array["ess_share"].values * 4000)
    assert np.abs((means(array) + w) / error[:, None]).max() < 4.5
    np.testing.assert_allclose(array["ess_share"], 1 / (weights**2).sum(1) / 4000, rtol=1e-9)
    # Of Gaussian log weights of variance v the effective share is exp(-v).
    np.testing.assert_allclose(array["ess_share"], np.exp(-((w - base) ** 2).sum(1)), rtol=0.2)


def test_runs_of_the_same_coefficients_are_one_state():
    rng = np.random.default_rng(shifted(7))
    rows = 0.6 * rng.normal(size=(8, SIZE))
    one, two, other = (ensemble(c, n, rng) for c, n in ((np.zeros(SIZE), 300), (np.zeros(SIZE), 500), (rows[0], 400)))
    gathered = references.gather([one, other, two], posterior(rows))
    mixed = reweighting.mixture(gathered)
    # MBAR's own answer, with each run as a state by itself.
    reduced = gathered.coefficients @ mixed.energies.T
    free = reweighting.free_energies(reduced, gathered.member)
    assert abs(free[1]) > 0.01
    assert free[2] == pytest.approx(free[0], abs=1e-6)
    density = np.log(np.exp(free[:, None] - reduced).T @ [300, 400, 500])
    apart = mixed.log_density - density
    np.testing.assert_allclose(apart, apart.mean(), atol=1e-6)


def test_several_references_are_mbar():
    from pymbar import MBAR

    rng = np.random.default_rng(shifted(1))
    rows = 0.4 * rng.normal(size=(12, SIZE))
    centers = np.array([[0.9] + [0.0] * 5, [-0.9] + [0.0] * 5, [0.0, 0.8] + [0.0] * 4])
    lengths = (900, 500, 1300)
    runs = [ensemble(c, n, rng) for c, n in zip(centers, lengths, strict=True)]
    array = propagate(rows, runs, guard=obs.Guard(1.0, 1.0, references=0, simulations=0))
    w = rows_of(array, rows)
    x = np.concatenate([r["positions"].values.reshape(-1, SIZE) for r in runs])
    with jax.enable_x64(True):
        peer = MBAR(centers @ x.T, lengths, solver_protocol="robust")
        theirs = np.stack([peer.compute_expectations(x[:, 0], u_kn=(v @ x.T)[None])["mu"][0] for v in w])
    np.testing.assert_allclose(means(array)[:, 0], theirs, rtol=1e-6, atol=1e-8)
    assert not jax.config.jax_enable_x64
    # exp(-F) is the integral of the density: exact free energies are -|w|^2 / 2.
    gathered = references.gather(runs, posterior(rows))
    assert len(references.gather([*runs, *runs], posterior(rows)).runs) == len(gathered.runs)  # none counts twice
    found = reweighting.free_energies(centers @ gathered.frames["basis_energy"].values.T / KT, gathered.member)
    exact = -0.5 * (centers**2).sum(1)
    np.testing.assert_allclose(found, exact - exact[0], atol=0.15)
    error = 1 / np.sqrt(array["ess_share"].values * sum(lengths))
    assert np.sqrt(np.mean(((means(array) + w) / error[:, None]) ** 2)) < 1.6


def test_energies_belong_to_each_draw():
    rng = np.random.default_rng(shifted(2))
    rows = 0.3 * rng.normal(size=(10, SIZE))
    array = propagate(rows, ensemble(np.zeros(SIZE), 20000, rng), obs.potential_energy)
    exact = KT * (SIZE / 2 - 0.5 * (rows_of(array, rows) ** 2).sum(1))
    assert array.name == "potential_energy"
    np.testing.assert_allclose(means(array), exact, atol=4.5 * KT * np.sqrt(SIZE / 2 / 20000 * 3))
    stored = obs.potential_energy(ensemble(rows, 5000, rng))
    assert stored.dims == ("draw", "block")
    np.testing.assert_allclose(stored.mean("block"), KT * (SIZE / 2 - 0.5 * (rows**2).sum(1)), atol=0.15 * KT)


@pytest.mark.filterwarnings("ignore:[1-6] of 60 draws fail the guard")
def test_spread_over_the_posterior_is_told_from_noise():
    """60 coefficients, 150 frames: of the scatter between draws four tenths are noise of the weights."""
    rng = np.random.default_rng(shifted(3))
    size, spread, frames = 60, 0.08, 150
    found, noise, scatter = [], [], []
    for k in range(20):
        rows = spread * rng.normal(size=(60, size))
        array = propagate(rows, ensemble(np.zeros(size), frames, rng), key=jax.random.key(shifted(k)))
        summary = obs.summarize(array)
        found.append(float((summary["sd_posterior"] ** 2).mean()) / rows.var(axis=0, ddof=1).mean())
        noise.append(float((summary["sd_sampling"] ** 2).mean()))
        scatter.append(means(array).var(axis=0, ddof=1).mean() / rows.var(axis=0, ddof=1).mean())
    assert np.mean(scatter) > 1.3
    assert np.mean(found) == pytest.approx(1.0, abs=0.1)
    assert np.mean(noise) == pytest.approx(1 / frames, rel=0.1)


@pytest.mark.filterwarnings("ignore:[1-6] of 60 draws fail the guard")
@pytest.mark.filterwarnings("ignore:x. neighboring blocks")  # of 60 runs a few seem correlated by chance
@pytest.mark.parametrize("several", [False, True])
def test_intervals_cover_the_truth(several):
    """Posterior N(m, s^2) with m drawn about the truth; the interval holds the truth's expectation as often as said."""
    rng = np.random.default_rng(shifted(4))
    spread, truth, inside = 0.2, np.full(SIZE, 0.1), []
    for k in range(60):
        center = truth + spread * rng.normal(size=SIZE)
        rows = center + spread * rng.normal(size=(60, SIZE))
        shifts = 0.5 * rng.normal(size=(3, SIZE)) if several else np.zeros((1, SIZE))
        runs = [ensemble(center + shift, 150 if several else 200, rng) for shift in shifts]
        summary = obs.summarize(propagate(rows, runs, key=jax.random.key(shifted(k))), ci_prob=0.9)
        inside.append(((summary["lower"] < -truth) & (-truth < summary["upper"])).values)
    # 360 components: binomial standard error 0.016
    assert 0.85 < np.mean(inside) < 0.95


def test_frames_of_references_alternate_in_time():
    rng = np.random.default_rng(6)
    runs = [ensemble(np.zeros(SIZE), n, rng) for n in (30, 90)]
    gathered = references.gather(runs, posterior(np.zeros((2, SIZE))))
    for part in np.array_split(gathered.member, 10):
        assert (part == 0).sum() == 3
    for k, run in enumerate(runs):
        mine = gathered.frames["positions"].values[gathered.member == k]
        np.testing.assert_array_equal(mine, run["positions"].values[0])


def test_control_by_linear_response():
    rng = np.random.default_rng(shifted(7))
    reference = ensemble(np.zeros(SIZE), 2000, rng)
    near = 0.02 * rng.normal(size=(30, SIZE))
    assert propagate(near, reference).attrs["linear_response"] < 0.1
    # <x^2> = 1 + w^2 is all curvature about w = 0, where linear response says 1.
    far = np.array([0.8] + [0.0] * (SIZE - 1)) + 0.005 * rng.normal(size=(30, SIZE))
    square = obs.per_frame(lambda positions, box: positions[0, 0] ** 2, name="square")
    with pytest.warns(UserWarning, match="square: reweighting and linear response differ"):
        array = propagate(far, reference, square)
    assert np.all(array["linear_response"] > 3.0)


def test_linear_response_is_the_derivative():
    rng = np.random.default_rng(8)
    post = posterior(np.zeros((1, SIZE)))
    gathered = references.gather([ensemble(0.2 * rng.normal(size=(2, SIZE)), 400, rng)], post)
    mixed = reweighting.mixture(gathered)
    w = gathered.coefficients[1] + 1e-4 * rng.normal(size=(3, SIZE))
    weights, step = propagation.evaluation.response_weights(mixed, gathered, w, np.array([1, 1, 1]))
    assert np.all(weights > 0)
    x = gathered.frames["positions"].values.reshape(-1, SIZE)
    both = (weights @ x) / weights.sum(1, keepdims=True)
    predicted = propagation.evaluation.linear_response(both[:3], both[3:], step)
    exact = softmax(reweighting.log_weights(mixed, w), axis=1) @ x
    base = softmax(reweighting.log_weights(mixed, gathered.coefficients[1:]), axis=1) @ x
    np.testing.assert_allclose(predicted, exact, atol=1e-6)
    assert np.abs(exact - base).max() > 3e-5


def per_draw(dataset, *, weights):
    """An observable of the user's own, without block weights."""
    values = obs.potential_energy(dataset, weights=weights)
    return values.drop_vars("block_weight")


def test_block_weights_are_filled_in():
    rng = np.random.default_rng(16)
    rows = 0.3 * rng.normal(size=(10, SIZE))
    reference = ensemble(np.zeros(SIZE), 400, rng)
    ours, theirs = propagate(rows, reference, obs.potential_energy), propagate(rows, reference, per_draw)
    np.testing.assert_allclose(ours["block_weight"], theirs["block_weight"], rtol=1e-9)


def test_functions_of_one_frame():
    rng = np.random.default_rng(17)
    data = ensemble(np.zeros((3, SIZE)), 50, rng)
    scalar = obs.per_frame(lambda positions, box: positions[0, 0] * box[0, 0], name="a", units="nm2")(data)
    assert scalar.dims == ("draw", "block")
    np.testing.assert_allclose(scalar.mean("block"), 10 * data["positions"][..., 0, 0].mean("frame"))
    matrix = obs.per_frame(lambda positions, box: np.outer(positions[0], positions[1]), name="m")(data.isel(draw=0))
    assert matrix.dims == ("block", "component", "component_1")
    expected = np.einsum("fi,fj->ij", *data["positions"].values[0].transpose(1, 0, 2)) / 50
    np.testing.assert_allclose(matrix.mean("block"), expected)
    with pytest.raises(ValueError, match="not finite"):
        obs.per_frame(lambda positions, box: np.nan, name="n")(data)
    with pytest.raises(ValueError, match="must be the same"):
        obs.per_frame(lambda positions, box: np.zeros(2 + int(positions[0, 0] > 0)), name="n")(data)


def changed(**attrs):
    return lambda reference: reference.assign_attrs(**attrs)


def nan_frames(reference):
    x = reference["positions"].copy()
    x[0, 30:] = np.nan
    return reference.assign(positions=x, failed=("draw", [True]))


OTHER = Potential(Pair("A", "A", cutoff=0.8, knot_spacing=0.8 / SIZE)).to_json()
BAD = {
    "other temperature": (changed(temperature=310.0), "simulated at 310 K, the posterior belongs to 300 K"),
    "other potential": (changed(potential=OTHER), "different potentials"),
    "failed": (nan_frames, "leave such draws out"),
    "changing box": (lambda r: r.assign(box=r["box"].expand_dims(frame=r.sizes["frame"])), "box changes"),
    "no coefficients": (lambda r: r.drop_vars("coefficients"), "simulate it again"),
    "no ensemble": (lambda r: r.drop_vars("basis_energy"), "lacks basis_energy"),
    "too short": (lambda r: r.isel(frame=slice(10)), "has 10 frames"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_references(name):
    change, message = BAD[name]
    reference = change(ensemble(np.zeros(SIZE), 100, np.random.default_rng(0)))
    with pytest.raises(ValueError, match=message):
        propagate(np.zeros((3, SIZE)), reference)


def test_bad_sets_of_references():
    rng = np.random.default_rng(0)
    one = ensemble(np.zeros(SIZE), 100, rng)
    with pytest.raises(ValueError, match="different boxes"):
        propagate(np.zeros((3, SIZE)), [one, ensemble(np.zeros(SIZE), 100, rng, box=11.0)])
    with pytest.raises(ValueError, match="different beads"):
        propagate(np.zeros((3, SIZE)), [one, one.assign_coords(bead_type=("bead", ["A", "B"]))])
    with pytest.raises(ValueError, match="there is no reference"):
        propagate(np.zeros((3, SIZE)), [])


@pytest.mark.parametrize(
    ("observable", "message"),
    [
        (lambda dataset: 1.0, "per_frame"),
        (lambda positions, box: 1.0, "per_frame"),
        ("rdf", "cannot be called"),
        (lambda dataset, weights: 1.0, r"dims \(draw, block, ...\); it gave float"),
        (lambda dataset, weights: first_moment(dataset), r"must return .* it gave \('block', 'component'\)"),
    ],
)
def test_bad_observables(observable, message):
    with pytest.raises(ValueError, match=message):
        propagate(np.zeros((3, SIZE)), ensemble(np.zeros(SIZE), 100, np.random.default_rng(0)), observable)


def test_structure_of_reweighted_frames():
    rng = np.random.default_rng(18)
    rows = 0.2 * rng.normal(size=(10, SIZE))
    reference = ensemble(np.zeros(SIZE), 200, rng)
    observable = functools.partial(obs.rdf, a="A", b="A", cutoff=4.0, bins=8)
    array = propagate(rows, reference, observable)
    # The distance between the beads is |x_1 - x_2|: Gaussian components of variance 2 and mean w_2 - w_1.
    w = rows_of(array, rows)
    weights = softmax(-w @ reference["positions"].values.reshape(-1, SIZE).T, axis=1)
    expected = obs.rdf(
        xr.concat([reference] * 10, "draw", data_vars="all").assign(box=reference["box"]),
        **observable.keywords,
        weights=weights,
    )
    np.testing.assert_allclose(means(array), means(expected), rtol=1e-9)
    assert array.attrs["temperature"] == TEMPERATURE
