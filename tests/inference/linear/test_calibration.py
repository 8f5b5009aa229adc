"""Calibrated data: algebra with known answers, scores of noise whose covariance is known, correlation in time."""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data.neighbors import pairs
from bayescg.geometry.images import minimum_image
from bayescg.inference import Sampling
from bayescg.inference.linear import marginal
from bayescg.inference.linear.calibration import calibrate
from bayescg.inference.linear.long_run import LongRun
from bayescg.posterior import curves
from tests.inference import systems
from tests.seeds import shifted

POTENTIAL = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, start=0.25, knot_spacing=0.05))
REACH = 0.37
"""Of the noise between beads [nm]: about one neighbor each, so that a contact's own noise dominates."""


def positive(size, seed, scale=1.0):
    root = np.random.default_rng(seed).normal(size=(size, 3 * size))
    return scale * root @ root.T


def calibrated(*args, **kwargs):
    with double_precision():
        data, root, report = calibrate(*args, **kwargs)
    gram, cross = np.asarray(data.gram), np.asarray(data.cross)
    return gram[0], cross[0], None if root is None else np.asarray(root), report


@pytest.mark.parametrize("method", ["godambe", "magnitude"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_scores_that_follow_the_model_scale_the_precision(method, scale):
    precision, b, factor = positive(6, 0), np.arange(6.0), np.linalg.cholesky(positive(6, 1))
    gram, cross, root, report = calibrated(precision, b, scale * precision, factor, method=method)
    np.testing.assert_allclose(gram, precision / scale, rtol=1e-10)
    np.testing.assert_allclose(cross, b / scale, rtol=1e-10)
    assert report["score_variance"] == pytest.approx(scale)
    if method == "magnitude":
        assert root is None
    else:
        np.testing.assert_allclose(root @ root.T, precision / scale, rtol=1e-8, atol=1e-9)


def test_all_of_the_covariance_is_kept():
    precision, factor = positive(5, 2), np.linalg.cholesky(positive(5, 3))
    noise = np.random.default_rng(4).normal(size=(5, 5))
    variance = precision + 0.15 * noise @ noise.T  # mild, so that no eigenvalue reaches the floor
    _, _, root, report = calibrated(precision, np.ones(5), variance, factor)
    assert report["score_clipped"] == 0
    eta = np.trace(np.linalg.solve(precision, variance)) / 5
    assert report["score_variance"] == pytest.approx(eta)
    np.testing.assert_allclose(root @ root.T, variance / eta**2, rtol=1e-7, atol=1e-8 * np.abs(variance).max())


def test_negative_directions_are_clipped():
    variance = np.diag([1.0, 1.0, 1.0, -0.5])
    _, _, root, report = calibrated(np.eye(4), np.zeros(4), variance, np.eye(4))
    level = 2.5 / 4
    assert report["score_clipped"] == 1
    assert report["score_variance_min"] == pytest.approx(0.25 * level)
    np.testing.assert_allclose(root @ root.T, np.diag([1.0, 1.0, 1.0, 0.25 * level]) / level**2, atol=1e-12)


def test_directions_without_data_stay_with_the_prior():
    precision = np.diag([5.0, 3.0, 1e-9])
    _, _, root, _ = calibrated(precision, np.ones(3), precision, np.eye(3))
    np.testing.assert_allclose(root @ root.T, np.diag([5.0, 3.0, 0.0]), atol=1e-7)


def test_draws_have_the_error_of_the_linear_estimate():
    # One coefficient of prior variance k: the estimate is a b / eta, its error k^-1 a^2 + v a^2 / eta^2.
    rng = np.random.default_rng(shifted(6))
    root_k, h, v = 0.8, 3.0, 7.0
    with double_precision():
        data, root, _ = calibrate(np.array([[h]]), np.array([2.0]), np.array([[v]]), np.array([[root_k]]))
        solution = marginal.solve(data, [np.array([[root_k]])], np.ones(1))
        noise, scatter = rng.normal(size=(2, 20000, 1))
        drawn = jax.jit(jax.vmap(marginal.draw, (None, 0, 0)))(solution, noise, float(root[0, 0]) * scatter)
        drawn = np.asarray(drawn)[:, 0]
    eta = v / h
    a = 1 / (root_k**-2 + h / eta)
    assert drawn.mean() == pytest.approx(a * 2.0 / eta, abs=4 * drawn.std() / 141)
    assert drawn.var() == pytest.approx(a**2 * root_k**-2 + a**2 * v / eta**2, rel=0.04)


def test_independent_replicates_are_covered_whatever_their_covariance():
    """Linear-Gaussian truth drawn from the prior, scores of a covariance unlike H: intervals hold in all directions."""
    rng = np.random.default_rng(shifted(7))
    size, count = 6, 400
    precision, root_k = 20.0 * np.eye(size), np.linalg.cholesky(positive(size, 9) / size)
    variance = np.diag(20.0 * np.array([0.5, 0.5, 0.5, 3.0, 3.0, 3.0]))
    root_v = np.linalg.cholesky(variance)
    z = {"godambe": [], "magnitude": []}
    condition = jax.jit(lambda data: marginal.mean_and_spread(marginal.solve(data, [root_k], np.ones(1))))
    with double_precision():
        for _ in range(count):
            v = root_k @ rng.normal(size=size)
            b = precision @ v + root_v @ rng.normal(size=size)
            for method, kept in z.items():
                data, root, _ = calibrate(precision, b, variance, root_k, method=method)
                mean, spread = map(np.asarray, condition(data))
                wide = spread @ spread.T
                if root is not None:
                    a = wide @ np.asarray(root)
                    prior_part = wide @ np.linalg.inv(root_k @ root_k.T) @ wide
                    wide = prior_part + a @ a.T
                kept.append((mean - v) / np.sqrt(np.diag(wide)))
    rms = {method: np.sqrt(np.mean(np.square(values), axis=0)) for method, values in z.items()}
    np.testing.assert_allclose(rms["godambe"], 1.0, atol=0.11)  # 400 replicates know an rms to 3.5 %
    assert np.abs(rms["magnitude"] - 1).max() > 0.15


def test_no_data_at_all_is_refused():
    with pytest.raises(ValueError, match="the data say nothing"), double_precision():
        calibrate(np.zeros((3, 3)), np.zeros(3), np.zeros((3, 3)), np.eye(3))
    with pytest.raises(ValueError, match="do not vary"), double_precision():
        calibrate(np.eye(3), np.zeros(3), np.zeros((3, 3)), np.eye(3))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_memory_of_scores_is_found(rho):
    # The long-run variance of AR(1) scores is (1 + rho) / (1 - rho) times that of independent ones.
    rng = np.random.default_rng(shifted(5))
    found = []
    for _ in range(30):
        noise = rng.normal(size=(64, 20))
        scores = noise.copy()
        for k in range(1, 64):
            scores[k] = rho * scores[k - 1] + np.sqrt(1 - rho**2) * noise[k]
        run = LongRun(scores, np.full(64, 1 / 64), np.arange(64))
        found.append(run.inflation(np.eye(20) / 8).mean())
    expected = (1 + rho) / (1 - rho)
    # Demeaned over 64 blocks and cut at a finite lag: a few per cent are lost, more for longer memory.
    # Without memory chance makes the larger of two estimates, not below one, a few per cent too large.
    assert np.mean(found) == pytest.approx(expected, rel=0.08 if rho == 0 else 0.15)


def test_smooth_directions_may_remember_longer():
    rng = np.random.default_rng(shifted(11))
    found = []
    for _ in range(30):
        noise = rng.normal(size=(60, 40))
        scores = noise.copy()
        for k in range(1, 60):
            scores[k, :20] = 0.5 * scores[k - 1, :20] + np.sqrt(0.75) * noise[k, :20]
        run = LongRun(scores, np.full(60, 1 / 60), np.arange(60))
        found.append(run.inflation(np.eye(40) / np.sqrt(60)))
    weak, strong = np.mean(found, axis=0)[:10], np.mean(found, axis=0)[-10:]
    assert weak.mean() == pytest.approx(3.0, rel=0.15)
    assert strong.mean() < 0.75 * weak.mean()


def test_every_tenth_frame_remembers_as_well():
    rng = np.random.default_rng(shifted(12))
    noise = rng.normal(size=(60, 20))
    for k in range(1, 60):
        noise[k] = 0.6 * noise[k - 1] + 0.8 * noise[k]
    numbers = np.arange(60)
    near, far = (LongRun(noise, np.full(60, 1 / 60), step * numbers) for step in (1, 10))
    whiten = np.eye(20) / np.sqrt(60)
    np.testing.assert_array_equal(near.inflation(whiten), far.inflation(whiten))
    assert near.inflation(whiten).mean() > 2


@pytest.mark.parametrize(
    ("blocks", "directions", "most"), [(16, 3, 1.2), (20, 9, 1.13), (20, 60, 1.08), (64, 20, 1.06)]
)
def test_chance_adds_little_memory(blocks, directions, most):
    rng = np.random.default_rng(shifted(13))
    share = np.full(blocks, 1 / blocks)
    found = [
        LongRun(rng.normal(size=(blocks, directions)), share, np.arange(blocks))
        .inflation(np.eye(directions) / np.sqrt(blocks))
        .mean()
        for _ in range(200)
    ]
    # Inherent in an estimate that is not below one: the fewer the numbers, the more.
    assert np.mean(found) < most


def test_memory_is_that_of_each_trajectory():
    """Two systems whose truths differ: constant scores of opposite sign are misfit between them, not memory."""
    small, large = systems.lennard_jones(20, seed=12), systems.lennard_jones(20, beads=216, seed=13)
    rng = np.random.default_rng(shifted(0))
    weaker = large.assign(forces=0.7 * large["forces"])
    weaker.attrs["source"] = "weaker"
    noisy = [data.assign(forces=data["forces"] + rng.normal(0, 60, data["forces"].shape)) for data in (small, weaker)]
    pilot = bcg.fit_pilot(POTENTIAL, noisy[0])
    sums = [bcg.force_statistics(POTENTIAL, data, pilot=pilot) for data in noisy]
    plan = Sampling(1, 1, 100)
    tree = bcg.force_match(
        POTENTIAL, sums[0] + sums[1], method="laplace", settings=plan, key=jax.random.key(shifted(0))
    )
    assert tree.attrs["score_memory"] < 1.5


@pytest.fixture(scope="module")
def liquid():
    return systems.lennard_jones(12, seed=8)


def third_law_noise(data, reach, scale, rng):
    """Random forces between close beads, equal and opposite: each bead's is anti-correlated with its neighbors'."""
    forces = np.zeros(data["positions"].shape)
    for frame, (x, box) in enumerate(zip(data["positions"].values, data["box"].values, strict=True)):
        close = pairs(x, box, reach)
        vector = minimum_image(x[close[:, 1]] - x[close[:, 0]], box)
        pull = rng.normal(0, scale, (len(close), 1)) * vector / np.linalg.norm(vector, axis=1, keepdims=True)
        np.add.at(forces[frame], close[:, 0], -pull)
        np.add.at(forces[frame], close[:, 1], pull)
    return forces


def test_scores_know_the_covariance_of_third_law_noise(liquid):
    rng = np.random.default_rng(shifted(0))
    shells = bcg.fit_pilot(POTENTIAL, liquid)
    pilot = bcg.Pilot(POTENTIAL, shells.coefficients, 0.5)
    totals, estimates, independent = [], [], []
    for _ in range(60):
        noisy = liquid.assign(forces=liquid["forces"] + third_law_noise(liquid, REACH, 100.0, rng))
        statistics = bcg.force_statistics(POTENTIAL, noisy, pilot=pilot)
        total = statistics.total()
        totals.append(total.cross[0])
        estimates.append(np.diag(statistics.score_covariance(np.ones(1))))
        residual = total.square - 2 * total.cross @ np.array(pilot.coefficients)
        residual = residual + pilot.coefficients @ total.gram[0] @ pilot.coefficients
        independent.append(np.diag(total.gram[0]) * residual / total.components)
    true = np.var(totals, axis=0, ddof=1)
    # Basis functions within the noise's reach that any pair has met.
    contact = (POTENTIAL.terms[0].sites[: len(true)] < REACH) & (true > 0.01 * true.max())
    # 60 replicates know a variance to 18 %.
    np.testing.assert_allclose(np.mean(estimates, axis=0)[contact] / true[contact], 1.0, atol=0.36)
    assert np.min(np.mean(independent, axis=0)[contact] / true[contact]) < 0.5


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_calibrated_error_bars_follow_the_scatter_and_plain_ones_do_not(liquid):
    rng = np.random.default_rng(shifted(1))
    fine = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF))  # so that the truth is in the model
    r = np.linspace(0.325, 0.345, 9)
    means, widths = [], {"godambe": [], "none": []}
    plan = Sampling(1, 1, 300)
    for k in range(12):
        noisy = liquid.assign(forces=liquid["forces"] + third_law_noise(liquid, REACH, 100.0, rng))
        statistics = bcg.force_statistics(fine, noisy, pilot=bcg.fit_pilot(fine, noisy))
        for calibration, kept in widths.items():
            tree = bcg.force_match(
                fine,
                statistics,
                method="laplace",
                calibration=calibration,
                settings=plan,
                key=jax.random.key(shifted(k)),
            )
            force = curves(fine, "A-A", tree["posterior"]["coefficients"].values[0], r)[1]
            kept.append(force.std(axis=0))
            if calibration == "godambe":
                means.append(force.mean(axis=0))
    truth = systems.true_force(systems.LJ, r)
    z = {name: np.sqrt(np.mean(((np.array(means) - truth) / np.array(sd)) ** 2)) for name, sd in widths.items()}
    assert 0.7 < z["godambe"] < 1.35
    assert np.mean(widths["godambe"]) > 1.1 * np.mean(widths["none"])
    assert z["none"] > 1.1 * z["godambe"]


def test_report_and_refusals(liquid):
    tree = bcg.force_match(POTENTIAL, liquid, method="laplace", settings=Sampling(1, 1, 100), key=jax.random.key(0))
    assert tree.attrs["calibration"] == "godambe"
    assert {"score_variance", "score_clipped", "score_memory"} <= set(tree.attrs)
    assert "log_evidence" not in tree.attrs
    assert not [name for name in tree["posterior"].data_vars if str(name).startswith("noise")]
    assert tree["constant_data"]["noise"].sizes == {"noise_class": 1}
    with pytest.raises(ValueError, match="calibration must be one of godambe, magnitude, none"):
        bcg.force_match(POTENTIAL, liquid, calibration="sandwich", key=jax.random.key(0))


@pytest.mark.parametrize(("rho", "spread"), [(0.5, 0.0), (0.5, 1.5), (0.9, 1.0)])
def test_memory_of_weighted_blocks(rho, spread):
    """Weights that differ from block to block: the long-run variance of the weighted sum, which is known.

    Autoregressive scores of 512 frames in 64 blocks. At the strongest spread the blocks are worth 14.
    """
    rng, frames, size, directions = np.random.default_rng(shifted(8)), 512, 8, 8
    apart = np.abs(np.arange(frames)[:, None] - np.arange(frames))
    root = np.linalg.cholesky(rho**apart)
    ratios = []
    for _ in range(60):
        weights = np.repeat(np.exp(rng.normal(0, spread, frames // size)), size)
        scores = weights[:, None] * (root @ rng.normal(size=(frames, directions)))
        blocks = weights.reshape(-1, size).sum(axis=1)
        run = LongRun(scores.reshape(-1, size, directions).sum(axis=1), blocks / blocks.sum(), np.arange(len(blocks)))
        found = run.inflation(np.eye(directions) / np.sqrt(weights @ weights)).mean()
        ratios.append(found / (weights @ rho**apart @ weights / (weights @ weights)))
    assert 0.85 < np.mean(ratios) < 1.2
