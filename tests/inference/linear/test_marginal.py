"""The posterior from statistics against dense Gaussian-process regression on the same few forces."""

import gpjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import bayescg as bcg
from bayescg import kernels as kernel_room
from bayescg._runtime import double_precision
from bayescg.inference.force_matching import force_match
from bayescg.inference.linear import marginal, scores
from bayescg.inference.statistics.streaming import statistics_of
from bayescg.kernels import pairs
from bayescg.potentials import Interactions
from bayescg.samplers.density import density
from tests.inference.statistics.test_force_statistics import random_system
from tests.seeds import shifted

pytestmark = pytest.mark.filterwarnings("ignore:no pair term")

POTENTIAL = bcg.Potential(
    bcg.Pair("A", "B", cutoff=0.9, start=0.2, knot_spacing=0.06),
    bcg.Bond("A", "B", start=0.05, stop=0.8, knot_spacing=0.1),
    exclude_bonds=1,
)


@pytest.fixture(scope="module")
def problem():
    """Prior, sums and the dense design of a dozen frames, at arbitrary hyperparameters."""
    data = random_system(frames=12, seed=4)
    statistics = statistics_of(POTENTIAL, data)
    interactions = Interactions.of(POTENTIAL, data)
    with double_precision():
        # A mild wall: forces of thousands at contact would leave the dense reference itself only three digits.
        wall = pairs.Wall(edge=0.2, force=20.0, power=4.0)
        seen = {name: (statistics.counts[name], statistics.ranges[name]) for name in statistics.counts}
        pair, bond = POTENTIAL.terms
        terms = [
            pairs.pair_prior(pair, *seen[pair.name], kT=2.5, wall=wall),
            kernel_room.prior_of(bond, *seen[bond.name], kT=2.5),
        ]
        kernels = {term.name: kernel_room.default_kernel() for term in terms}
        prior = marginal.Prior(POTENTIAL, tuple(terms), kernels, (90.0, 110.0), statistics.bead_types)
        design_rows = jax.jit(POTENTIAL.design_rows)
        rows = [
            design_rows(interactions.configuration(p.astype(float), b))
            for p, b in zip(data["positions"].values, data["box"].values, strict=True)
        ]
        rng = np.random.default_rng(1)
        values = {name: float(np.exp(d.loc + 0.3 * rng.normal())) for name, d in prior.distributions().items()}
    design = np.moveaxis(np.stack(rows), 2, 3).reshape(-1, POTENTIAL.n_basis)
    forces = data["forces"].values.astype(float).reshape(-1)
    types = np.tile(np.repeat(["A", "B"] * 12, 3), 12)
    return prior, statistics, design, forces, types, values


def test_the_mean_in_numpy_is_that_of_the_program(problem):
    prior, statistics, *_, values = problem
    with double_precision():
        data = marginal.reduce(prior, statistics.total())
        arrays = {name: jnp.asarray(value) for name, value in values.items()}
        solution = marginal.solve(data, prior.factors(arrays), prior.noises(arrays))
        expected, _ = marginal.mean_and_spread(solution)
        mean, factor = marginal.mean_at(prior, data, values)
    np.testing.assert_allclose(mean, expected, rtol=1e-8, atol=1e-10 * np.abs(expected).max())
    np.testing.assert_allclose(factor, solution.factor, rtol=1e-9)


def test_sums_that_rounding_has_made_indefinite_leave_the_mean_unknown(problem):
    prior, statistics, *_, values = problem
    with double_precision():
        data = marginal.reduce(prior, statistics.total())
        mean, _ = marginal.mean_at(prior, data._replace(gram=-data.gram), values)
    assert np.isnan(mean).all()


def dense(problem):
    prior, _, design, forces, types, values = problem
    with double_precision():
        root = prior.lift @ marginal.factor_at(prior, values)
    noise = np.where(types == "A", values["noise_A"], values["noise_B"])
    covariance = root @ root.T
    total = design @ covariance @ design.T + np.diag(noise**2)
    gain = covariance @ design.T @ np.linalg.inv(total)
    mean = prior.mean + gain @ (forces - design @ prior.mean)
    evidence = multivariate_normal(design @ prior.mean, total).logpdf(forces)
    return mean, covariance - gain @ design @ covariance, evidence


@jax.jit
def solve(prior, data, values):
    return marginal.solve(data, prior.factors(values), prior.noises(values))


@jax.jit
def log_evidence(prior, data, values):
    return marginal.log_evidence(data, prior.factors(values), prior.noises(values))


def test_posterior_equals_dense_gp_regression(problem):
    prior, statistics, _, _, _, values = problem
    expected_mean, expected_covariance, expected_evidence = dense(problem)
    with double_precision():
        data = marginal.reduce(prior, statistics.total())
        mean, spread = jax.jit(marginal.mean_and_spread)(solve(prior, data, values))
        evidence = log_evidence(prior, data, values)
    mean = prior.mean + prior.lift @ np.asarray(mean)
    spread = prior.lift @ np.asarray(spread)
    scale = np.sqrt(np.diag(expected_covariance)).max()
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(spread @ spread.T, expected_covariance, atol=1e-6 * scale**2)
    np.testing.assert_allclose(evidence, expected_evidence, rtol=1e-8)


def test_closed_form_gradient_of_the_evidence(problem):
    prior, statistics, *_ = problem
    with double_precision():
        data = marginal.reduce(prior, statistics.total())
        target = density(marginal.model, (prior, data), prior.medians())
        z = np.asarray(target.center) + 0.1
        gradient = np.asarray(target.value_and_gradient(jnp.asarray(z))[1])

        def value(z):
            return float(target.value_and_gradient(jnp.asarray(z))[0])

        numeric = [(value(z + step) - value(z - step)) / 2e-5 for step in 1e-5 * np.eye(len(z))]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-5)


def test_draws_have_the_exact_mean_and_covariance(problem):
    prior, statistics, _, _, _, values = problem
    expected_mean, expected_covariance, _ = dense(problem)
    with double_precision():
        data = marginal.reduce(prior, statistics.total())
        solution = solve(prior, data, values)
        normal = jax.random.normal(jax.random.key(shifted(0)), (20000, prior.lift.shape[1]))
        draws = jax.jit(jax.vmap(marginal.draw, (None, 0)))(solution, normal)
    draws = np.asarray(draws) @ prior.lift.T + prior.mean
    sd = np.sqrt(np.diag(expected_covariance)) + 1e-12
    assert np.abs((draws.mean(0) - expected_mean) / sd).max() < 4.5 / np.sqrt(20000)
    assert np.abs((np.cov(draws.T) - expected_covariance) / np.outer(sd, sd)).max() < 6 / np.sqrt(20000)


def test_block_scores_are_ratios_of_evidences(problem):
    prior, statistics, _, _, _, values = problem
    blocks, total = statistics.blocks, statistics.total()
    with double_precision():
        several = {name: np.array([v, 1.3 * v]) for name, v in values.items()}
        found = scores.block_log_likelihood(prior, blocks, total, several)
        for draw in range(2):
            at = {name: v[draw] for name, v in several.items()}
            whole = log_evidence(prior, marginal.reduce(prior, total), at)
            for block in (0, 7):
                rest = marginal.Sums(*(a - b for a, b in zip(total, blocks[block], strict=True)))
                without = log_evidence(prior, marginal.reduce(prior, rest), at)
                np.testing.assert_allclose(found[draw, block], whole - without, rtol=1e-6)


@pytest.mark.parametrize(
    "kernel",
    [
        gpjax.kernels.RBF(),
        gpjax.kernels.RationalQuadratic(),
        gpjax.kernels.Matern32() + gpjax.kernels.RBF(),
    ],
    ids=["RBF", "RationalQuadratic", "Matern32+RBF"],
)
def test_prior_curves_have_the_kernel_s_covariance_at_the_sites(kernel):
    # A bond without walls has no edge conditions: up to the constant of the energy its prior is the kernel itself.
    term = bcg.Bond("A", "B", start=0.1, stop=0.9, knot_spacing=0.1)
    with double_precision():
        prior = kernel_room.prior_of(term, np.ones(term.spline.intervals), (0.0, 1.0), kT=2.5)
        shapes = prior.drift
        values = {name: 1.0 * np.exp(d.loc) for name, d in prior.hyperpriors(kernel).items()}
        root = prior.lift @ np.asarray(prior.factor(kernel, values))
        covariance = term.spline.matrix(term.sites) @ root @ root.T @ term.spline.matrix(term.sites).T
        differences = np.diff(np.eye(len(term.sites)), axis=0)
        found = differences @ covariance @ differences.T
        parts = kernel.kernels if hasattr(kernel, "kernels") else (kernel,)
        expected = 0
        for number, part in enumerate(parts, 1):
            suffix = str(number) if len(parts) > 1 else ""
            length = values[f"lengthscale{suffix}_bond_A-B"]
            variance = values[f"amplitude{suffix}_bond_A-B"] ** 2
            own = type(part)(lengthscale=length, variance=variance)
            expected = expected + np.asarray(
                own.cross_covariance(jnp.asarray(term.sites[:, None]), jnp.asarray(term.sites[:, None]))
            )
        # And the first terms of an expansion, whose weights are free.
        expected = differences @ (np.asarray(expected) + shapes @ shapes.T) @ differences.T
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_edges_and_walls_of_pair_draws():
    term = bcg.Pair("A", "A", cutoff=0.9)
    counts = np.where(term.spline.knots[:-1] < 0.3, 0.0, 100.0)
    wall = pairs.Wall(edge=0.31, force=500.0, power=13.0)
    with double_precision():
        prior = pairs.pair_prior(term, counts, (0.3, 0.9), kT=2.5, wall=wall)
        kernel = kernel_room.default_kernel()
        values = {name: np.exp(d.loc) for name, d in prior.hyperpriors(kernel).items()}
        free = np.asarray(prior.factor(kernel, values))
    w = prior.mean + (prior.lift @ free @ np.random.default_rng(0).normal(size=(free.shape[1], 50))).T
    x = np.linspace(0.2, 0.265, 50)
    force = -w @ term.spline.matrix(x, 1)[:, : term.n_basis].T
    # Two knots below the samples every draw is the same rising power law.
    np.testing.assert_allclose(force, np.broadcast_to(500.0 * (0.31 / x) ** 13, force.shape), rtol=0.08)
    at_cutoff = w @ term.spline.matrix(np.array([0.9 - 1e-9]), 1)[:, : term.n_basis].T
    np.testing.assert_allclose(at_cutoff, 0, atol=1e-6)


@pytest.mark.parametrize("sampled", [(2.2, np.pi), (1.2, np.pi - 0.07), (0.05, 2.0)])
def test_angle_prior_is_flat_at_both_ends(sampled):
    term = bcg.Angle("A", "A", "A")
    middle = 0.5 * (term.spline.knots[1:] + term.spline.knots[:-1])
    counts = np.where((middle > sampled[0]) & (middle < sampled[1]), 50.0, 0.0)
    with double_precision():
        prior = kernel_room.prior_of(term, counts, sampled, kT=2.5)
        kernel = kernel_room.default_kernel()
        values = {name: np.exp(d.loc) for name, d in prior.hyperpriors(kernel).items()}
        root = prior.lift @ np.asarray(prior.factor(kernel, values))
    ends = term.spline.matrix(np.array([0.0, np.pi]), 1)
    typical = np.abs(term.spline.matrix(middle, 1) @ root).max()
    np.testing.assert_allclose(ends @ prior.mean, 0, atol=1e-9)
    np.testing.assert_allclose(ends @ root, 0, atol=1e-9 * typical)


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_vector_lengthscales_are_learned(problem):
    _, statistics, *_ = problem
    kernels = {"A-B": gpjax.kernels.RBF(lengthscale=jnp.array([0.1])), "bond_A-B": "Matern32"}
    plan = bcg.Sampling(1, 1, 50)
    tree = force_match(
        POTENTIAL,
        statistics,
        kernels=kernels,
        method="laplace",
        calibration="none",
        settings=plan,
        key=jax.random.key(0),
    )
    assert tree["posterior"]["lengthscale_A-B"].shape == (1, 50, 1)


def test_unknown_choices_are_refused(problem):
    _, statistics, *_ = problem
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="method must be one of nuts, vi, laplace"):
        force_match(POTENTIAL, statistics, method="hmc", key=key)
    with pytest.raises(ValueError, match="kernels name unknown terms"):
        force_match(POTENTIAL, statistics, kernels={"W-W": gpjax.kernels.RBF()}, key=key)
    with pytest.raises(ValueError, match="belong to another potential"):
        force_match(bcg.Potential(bcg.Pair("A", "B", 0.8)), statistics, key=key)
    with pytest.raises(ValueError, match="noise_ceiling"):
        force_match(POTENTIAL, statistics, noise_ceiling=2.0, key=key)
    with pytest.raises(ValueError, match="did you mean 'RBF'"):
        force_match(POTENTIAL, statistics, kernels={"A-B": "RFB"}, key=key)
    with pytest.raises(ValueError, match="must be a GPJax kernel"):
        force_match(POTENTIAL, statistics, kernels={"A-B": 3}, key=key)
    with pytest.raises(ValueError, match="hold no scores"):
        force_match(POTENTIAL, statistics, calibration="godambe", key=key)
