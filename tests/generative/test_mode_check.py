"""Models that lack a well are flagged; right ones are not."""

import jax
import numpy as np
import pytest

from bayescg.atomistic import bimodal
from bayescg.generative import check_modes, tempered_smc
from tests.seeds import shifted

from .models import bimodal_model, random_model


def test_a_lost_well_is_flagged():
    """The well of 0.8 %, which costs nothing in the reverse divergence (issue, point 1), on 5000 particles."""
    target = bimodal()
    particles = tempered_smc(target, particles=5000, moves=2, key=jax.random.key(shifted(0)))
    right = bool(np.any(particles.coordinates[:, 0] > 1))
    assert right
    whole = check_modes(
        bimodal_model(width=0.42, left=0.35), target, particles=particles, key=jax.random.key(shifted(1))
    )
    assert not whole.flagged
    assert whole.missed < 0.002
    assert whole.evaluations == particles.evaluations + 5000
    assert np.abs(np.median(whole.log_ratio)) < 0.3
    with pytest.warns(UserWarning, match=r"the model misses 0.\d+ % of the target"):
        lost = check_modes(
            bimodal_model(right=0, left=0.35), target, particles=particles, key=jax.random.key(shifted(1))
        )
    assert lost.flagged
    assert 0.004 < lost.missed < 0.015
    assert np.all(lost.coordinates[lost.log_ratio > 10, 0] > 0)


def test_another_targets_model_is_refused():
    with pytest.raises(ValueError, match="model has 3 coordinates and the target 2"):
        check_modes(random_model([False] * 3), bimodal(), particles=100, key=jax.random.key(0))
