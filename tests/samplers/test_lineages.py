"""Effective numbers of samples that are related."""

import numpy as np
import pytest

from bayescg.samplers.lineages import ess_of_lineages, ess_of_relatives
from tests.seeds import shifted


def test_effective_samples_of_relatives():
    rng = np.random.default_rng(shifted(0))
    families = np.repeat(np.arange(400), 5)
    own = rng.normal(size=(400, 3))[families]
    equal, uniform = np.sqrt(0.5) * own + np.sqrt(0.5) * rng.normal(size=own.shape), np.full(2000, 1 / 2000)
    # Correlation rho in families of n: n_families * n / (1 + (n - 1) rho).
    assert ess_of_relatives(own, uniform, families) == pytest.approx(400, rel=0.2)
    assert ess_of_relatives(equal, uniform, families) == pytest.approx(2000 / 3, rel=0.25)
    assert ess_of_relatives(rng.normal(size=(2000, 3)), uniform, families) == pytest.approx(2000, rel=0.2)
    assert ess_of_relatives(own, uniform, np.zeros(2000, int)) == pytest.approx(1)


def test_effective_number_of_ancestors():
    weights = np.array([0.25, 0.25, 0.5])
    assert ess_of_lineages(weights, np.array([7, 7, 9])) == pytest.approx(2)
    assert ess_of_lineages(weights, np.array([0, 1, 2])) == pytest.approx(1 / 0.375)
