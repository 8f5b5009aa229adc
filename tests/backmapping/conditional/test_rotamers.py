"""Wells of torsions."""

import numpy as np
import pytest

from bayescg.backmapping.conditional.rotamers import find_wells
from tests.seeds import shifted


def _values(rng, centers, shares, sd, count=600):
    each = [rng.normal(c, sd, round(s * count)) for c, s in zip(centers, shares, strict=True)]
    return (np.concatenate(each) + np.pi) % (2 * np.pi) - np.pi


@pytest.mark.parametrize(
    ("centers", "shares"),
    [
        ([0.3], [1.0]),
        ([3.1], [1.0]),
        ([-1.2, 1.2], [0.3, 0.7]),
        ([3.1, 1.0, -1.0], [0.6, 0.3, 0.1]),
        ([2.9, -0.4], [0.95, 0.05]),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_wells_are_found(centers, shares, seed):
    values = _values(np.random.default_rng(shifted(seed)), centers, shares, 0.2)
    wells = find_wells(values)
    assert len(wells.centers) == len(centers)
    expected = np.array(centers)
    miss = np.abs(np.angle(np.exp(1j * (np.array(wells.centers)[:, None] - expected)))).min(axis=0)
    assert miss.max() < 0.1
    shares_found = np.bincount(wells.assign(values)) / len(values)
    assert np.allclose(np.sort(shares_found), np.sort(shares), atol=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_no_wells_in_noise(seed):
    rng = np.random.default_rng(shifted(seed))
    assert len(find_wells(rng.uniform(-np.pi, np.pi, 300)).centers) == 1
    assert len(find_wells(rng.normal(2.0, 0.6, 300)).centers) == 1


def test_a_few_strays_are_no_well():
    rng = np.random.default_rng(shifted(0))
    values = np.concatenate([rng.normal(0, 0.2, 500), rng.normal(3.0, 0.1, 5)])
    assert len(find_wells(values).centers) == 1


def test_wells_turn_with_the_values():
    rng = np.random.default_rng(0)
    values = _values(rng, [-1.2, 1.2, 3.0], [0.3, 0.5, 0.2], 0.2)
    label = find_wells(values).assign(values)
    turned = (values + 2.5 + np.pi) % (2 * np.pi) - np.pi
    other = find_wells(turned).assign(turned)
    same = [np.bincount(other[label == k]).max() for k in range(3)]
    assert sum(same) > 0.99 * len(values)
