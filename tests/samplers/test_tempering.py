"""Steps of the temperature: the share that they leave, zero densities, accounts; one path whose integral is known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from bayescg._runtime import double_precision
from bayescg.samplers.importance import kish, log_mean
from bayescg.samplers.schedules import Path, adapt, run
from bayescg.samplers.tempering import (
    FLOOR,
    Account,
    bounded,
    log_gain,
    log_ratio,
    next_increment,
    reweighted,
)
from tests.samplers.gaussians import COVARIANCE, LOG_Z, MEAN
from tests.seeds import shifted


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e6])
def test_a_step_leaves_the_share_that_is_asked(share, scale):
    ratios = scale * np.random.default_rng(0).normal(size=500) + 1e5
    increment = next_increment(ratios, 1.0, share)
    left = kish(reweighted(ratios, increment)) / 500
    if increment < 1.0:
        assert left == pytest.approx(share, rel=1e-8)
    else:
        assert left >= share
    assert next_increment(ratios, 0.5 * increment, share) == pytest.approx(0.5 * increment)


def test_the_same_step_in_single_precision():
    ratios = np.random.default_rng(0).normal(size=100) * 7
    with double_precision():
        double = next_increment(ratios, 1.0, 0.5)
    assert next_increment(ratios, 1.0, 0.5) == double


def test_zero_densities_cost_one_small_step_and_what_is_no_number_none():
    ratios = np.random.default_rng(0).normal(size=300)
    known = next_increment(ratios, 1.0, 0.9)
    beside = np.concatenate([ratios, [np.nan, np.inf, -np.inf]])
    assert next_increment(beside, 1.0, 0.9) == pytest.approx(known, rel=1e-6)
    zero = np.concatenate([ratios, np.full(300, FLOOR)])
    increment = next_increment(zero, 1.0, 0.9)
    assert 0 < increment < 1e-11
    np.testing.assert_allclose(reweighted(zero, increment)[300:], 0)
    assert log_gain(zero, increment) == pytest.approx(np.log(0.5))


def test_ratios_are_numbers_where_densities_are_zero():
    def first(y):
        return jnp.where(y[0] > 0, -y[0], -jnp.inf)

    def second(y):
        return jnp.where(y[0] > 1, -2 * y[0], jnp.nan)

    ratio = lambda y: float(log_ratio(bounded(first), bounded(second), jnp.asarray([y])))  # noqa: E731
    assert ratio(3.0) == pytest.approx(-3.0)
    assert ratio(0.5) == pytest.approx(FLOOR)
    assert ratio(-1.0) == pytest.approx(FLOOR)


def test_accounts_follow_ancestors():
    class Info(NamedTuple):
        ancestors: np.ndarray
        log_likelihood_increment: float

    account = Account.begin(4)
    account = account.after(Info(np.array([0, 0, 2, 3]), -1.5)).after(Info(np.array([1, 1, 3, 3]), 0.25))
    np.testing.assert_array_equal(account.ancestors, [0, 0, 3, 3])
    assert account.log_z == pytest.approx(-1.25)


class ToGaussian(Path):
    """From a unit Gaussian to one that is not normalized, by way of another if there are two legs."""

    height: float

    def ends(self, leg):
        white = jnp.linalg.inv(jnp.asarray(COVARIANCE))

        def start(y):
            return -0.5 * jnp.sum(y**2) - 1.5 * np.log(2 * np.pi)

        def between(y):
            return 40.0 - 0.5 * jnp.sum((y - 1) ** 2)

        def target(y):
            return self.height - 0.5 * (y - MEAN) @ white @ (y - MEAN)

        return (start, between) if leg == 0 else (between if leg == 1 else start, target)

    def complaint(self, leg):
        return f"leg {leg}: look at it"


LEGS = {"direct": (2,), "by way of another": (0, 1)}
HEIGHT = LOG_Z - 0.5 * np.linalg.slogdet(2 * np.pi * COVARIANCE)[1]


@pytest.mark.parametrize("legs", LEGS.values(), ids=LEGS)
def test_log_z_of_a_gaussian(legs):
    """Runs with frozen parameters: exact within an error that is small, and draws with the right moments."""
    path, replicates, count = ToGaussian(HEIGHT), 12, 400
    with double_precision():
        pilot, *keys = jax.random.split(jax.random.key(shifted(0)), 1 + replicates)
        start = np.asarray(jax.random.normal(pilot, (count, 3)))
        stages, spent = adapt(path, start, legs=legs, share=0.6, moves=2, key=pilot)
        runs = []
        for key in keys:
            begin, go = jax.random.split(key)
            runs.append(run(path, stages, np.asarray(jax.random.normal(begin, (count, 3))), moves=2, key=go))
    each = np.array([found.log_z for found in runs])
    log_z, error = log_mean(each, freedom=1)
    assert error < 0.06
    assert abs(log_z - LOG_Z) < 4 * error
    assert [stage.leg for stage in stages] == sorted(stage.leg for stage in stages)
    assert [stage.temperature for stage in stages if stage.leg == legs[-1]][-1] == 1.0
    weights = np.repeat(np.exp(each - logsumexp(each)) / count, count)
    y = np.concatenate([found.y for found in runs])
    sd = np.sqrt(np.diag(COVARIANCE))
    assert np.abs((weights @ y - MEAN) / sd).max() < 0.1
    centered = y - weights @ y
    assert np.abs(((centered.T * weights) @ centered - COVARIANCE) / np.outer(sd, sd)).max() < 0.15
    # Two evaluations of each particle at each temperature, and those of its trajectories.
    for leg in legs:
        cost = sum(count * (2 * stage.leapfrogs + 2) for stage in stages if stage.leg == leg)
        assert runs[0].evaluations[leg] == cost
        assert spent[leg] > cost
    assert 0.5 < runs[0].acceptance <= 1
    assert set(runs[0].ancestors) <= set(range(count))


def test_paths_that_lead_nowhere_are_refused():
    class Nowhere(ToGaussian):
        def ends(self, leg):
            return super().ends(leg)[0], lambda y: -jnp.inf * jnp.sum(y**2)

    class Steep(ToGaussian):
        def ends(self, leg):
            return super().ends(leg)[0], lambda y: jnp.where(y[0] > 1e3, jnp.sqrt(y[0] - 1e3), -jnp.sum(y**2))

    with double_precision():
        y, options = np.random.default_rng(0).normal(size=(40, 3)), {"legs": (0,), "share": 0.6, "moves": 1}
        with pytest.raises(ValueError, match="does not get beyond lambda = 0 of leg 0: look at it"):
            adapt(Nowhere(0.0), y, **options, key=jax.random.key(0))
        with pytest.raises(ValueError, match="no draw has a finite gradient"):
            adapt(Steep(0.0), y, **options, key=jax.random.key(0))
