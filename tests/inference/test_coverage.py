"""`coverage`: on data whose noise is known, what it finds is what is true; too little data is refused."""

from itertools import pairwise

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.data import Topology
from bayescg.inference import rank_statistics
from bayescg.inference.coverage import _grid, _jackknife, _rest, _share
from bayescg.inference.statistics.streaming import statistics_of
from tests.inference import systems
from tests.seeds import shifted

POTENTIAL = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.04))
EDGES = {"A-A": [0.33, 0.36, 0.42, 0.55, 0.80]}


@pytest.fixture(scope="module")
def liquid():
    data = systems.lennard_jones(160, seed=9)
    return systems.with_noise(data, float(data["forces"].std()), 3)


@pytest.fixture(scope="module")
def found(liquid):
    return bcg.coverage(POTENTIAL, liquid, segments=16, ranges=EDGES, key=jax.random.key(shifted(0)))


def test_true_error_bars_are_found_to_be_true(found):
    assert found["z_A-A"].sizes == {"segment": 16, "x_A-A": 400}
    assert found.attrs["frames_per_segment"] == 10
    # 16 segments, each with a handful of independent values of z.
    assert 0.8 < _rms_over_that_of_one_truth(found) < 1.2
    assert found["covered_A-A"].attrs["covered"] > 0.85
    assert found["covered_A-A"].attrs["covered_se"] < 0.04
    assert found["rms_A-A"].sizes == {"range_A-A": 4}
    np.testing.assert_allclose(found["low_A-A"], EDGES["A-A"][:-1])


def _rms_over_that_of_one_truth(found):
    """Of z, relative to the square root of the share of the data: what the prior leaves open is the same everywhere."""
    width = np.diff(EDGES["A-A"])
    share = np.average(found["data_share_A-A"], weights=width)
    return float(np.sqrt((found["z_A-A"] ** 2).mean() / share))


def test_segments_scatter_about_their_mean_as_the_share_of_the_data_says(found):
    scatter = found["mean_A-A"].var("segment", ddof=1) / (found["sd_A-A"] ** 2).mean("segment")
    for k, (low, high) in enumerate(pairwise(EDGES["A-A"])):
        here = scatter[(found["x_A-A"].values >= low) & (found["x_A-A"].values <= high)]
        # 15 degrees of freedom, at a handful of independent distances.
        assert 0.4 < float(here.mean() / found["data_share_A-A"][k]) < 1.6


def test_z_is_what_it_says(found):
    z = (found["mean_A-A"] - found["rest_A-A"]) / found["sd_A-A"] * np.sqrt(1 - 10 / 160)
    np.testing.assert_allclose(found["z_A-A"], z)
    inside = (found["x_A-A"] >= 0.36) & (found["x_A-A"] <= 0.42)
    assert float(found["rms_A-A"][1]) == pytest.approx(float(np.sqrt((z.where(inside) ** 2).mean())))


def _distances(cg):
    """Of all pairs, by frame."""
    side = cg["box"].values[0, 0, 0]
    first, second = np.triu_indices(cg.sizes["bead"], 1)
    apart = cg["positions"].values[:, first].astype(float) - cg["positions"].values[:, second]
    return np.linalg.norm(apart - side * np.round(apart / side), axis=-1)


def test_interactions_are_counted_by_segment_and_range(liquid, found):
    distances = _distances(liquid).reshape(16, -1)
    expected = [np.histogram(part, EDGES["A-A"])[0] for part in distances]
    np.testing.assert_array_equal(found["count_A-A"], expected)


def test_default_ranges_reach_contact_where_most_segments_met_it(liquid):
    segments = [liquid.isel(frame=slice(10 * k, 10 * k + 10)) for k in range(5)]
    nearest = sorted(float(_distances(part).min()) for part in segments)
    x = _grid(POTENTIAL.terms[0], [statistics_of(POTENTIAL, part) for part in segments], None)
    assert x[0] == pytest.approx(nearest[2], rel=1e-6)
    assert x[0] < nearest[-1]


def test_pairs_and_bonds_without_a_range_of_two_types():
    """Dimers A-B on a lattice, with a harmonic bond, no other forces, and noise; no range of bonds is given."""
    rng = np.random.default_rng(shifted(7))
    corners = np.stack(np.meshgrid(*[np.arange(3.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lengths = rng.normal(0.3, 0.02, (40, 27))
    direction = rng.normal(size=(40, 27, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    first = corners + rng.uniform(-0.2, 0.2, (40, 27, 3))
    pull = 5000.0 * (lengths - 0.3)[..., None] * direction
    positions = np.stack([first, first + lengths[..., None] * direction], 2).reshape(40, 54, 3)
    forces = np.stack([pull, -pull], 2).reshape(40, 54, 3) + rng.normal(0, 50, (40, 54, 3))
    bonds = np.arange(54).reshape(-1, 2)
    cg = bcg.from_arrays(
        positions,
        np.full(3, 3.0),
        ["A", "B"] * 27,
        temperature=300.0,
        mass=np.full(54, 20.0),
        forces=forces,
        topology=Topology.from_bonds(54, bonds),
    )
    potential = bcg.Potential(
        bcg.Pair("A", "A", 1.2, knot_spacing=0.1), bcg.Bond("A", "B", knot_spacing=0.01), exclude_bonds=1
    )
    found = bcg.coverage(potential, cg, segments=5, key=jax.random.key(shifted(0)))
    assert 0.5 < float(np.sqrt((found["z_bond_A-B"] ** 2).mean())) < 1.6
    low, high = float(found["low_bond_A-B"][0]), float(found["high_bond_A-B"][-1])
    inside = [np.sum((part >= low) & (part < high)) for part in lengths.reshape(5, -1)]
    # Positions are kept in single precision: one at an edge may be on its other side.
    assert np.abs(found["count_bond_A-B"].sum("range_bond_A-B") - inside).max() <= 1
    assert found["count_A-A"].sizes == {"segment": 5, "range_A-A": 6}


def test_weighted_frames_are_covered(liquid):
    weights = np.random.default_rng(shifted(4)).lognormal(0, 0.5, 160) * np.linspace(0.3, 3.0, 160)
    cg = liquid.assign(weight=("frame", weights))
    found = bcg.coverage(POTENTIAL, cg, segments=16, ranges=EDGES, key=jax.random.key(shifted(0)))
    assert 0.8 < _rms_over_that_of_one_truth(found) < 1.2
    # The force of the others is theirs alone, and the share of a segment that of its effective frames.
    part, rest = (statistics_of(POTENTIAL, cg.isel(frame=f)) for f in (slice(10), slice(10, None)))
    worth = [np.sum(w) ** 2 / np.sum(w**2) for w in (weights[:10], weights[10:])]
    assert _share(part + rest, part) == pytest.approx(worth[0] / sum(worth))
    x = found["x_A-A"].values
    (given,) = _rest(part + rest, [part], {"A-A": x}, {})["A-A"]
    # What is left of all is the others, whatever the scale of the weights in the segment.
    tiny = statistics_of(POTENTIAL, cg.isel(frame=slice(10)).assign(weight=("frame", 1e-6 * weights[:10])))
    (alone,) = _rest(tiny + rest, [tiny], {"A-A": x}, {})["A-A"]
    sd = found["sd_A-A"].values.mean(axis=0) / np.sqrt(16)
    assert np.abs((given - alone) / sd).max() < 0.03


def test_error_bars_that_are_too_short_are_found(liquid):
    # The same frames twice: the scores of neighboring frames agree exactly, and the plain posterior counts all twice.
    twice = liquid.isel(frame=np.repeat(np.arange(160), 4)).assign_coords(frame=np.arange(640))
    plain = bcg.coverage(
        POTENTIAL, twice, segments=16, ranges=EDGES, calibration="none", key=jax.random.key(shifted(0))
    )
    assert float(np.sqrt((plain["z_A-A"] ** 2).mean())) > 1.5


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=(12, 1))
    estimate, error = _jackknife(np.mean, values)
    assert estimate == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(12))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"segments": 3}, "at least 4 segments of 8 frames"),
        ({"segments": 40}, "segments=40 of 160 frames"),
        ({"segments": 16, "method": "hmc"}, "method must be one of"),
        ({"segments": 16, "calibration": "best"}, "calibration must be one of"),
        ({"segments": 16, "ci_prob": 1.5}, "between 0 and 1"),
        ({"segments": 16, "ranges": {"B-B": [0.3, 0.5]}}, "ranges name unknown terms"),
        ({"segments": 16, "ranges": {"A-A": [0.5]}}, "at least two edges"),
        ({"segments": 16, "ranges": {"A-A": [0.3, 0.6, 1.2]}}, "must lie between its knots"),
    ],
)
def test_bad_choices_are_refused(liquid, choices, message):
    with pytest.raises(ValueError, match=message):
        bcg.coverage(POTENTIAL, liquid, key=jax.random.key(0), **choices)


@pytest.fixture(scope="module")
def ranked(liquid):
    statistics = bcg.force_statistics(POTENTIAL, liquid.isel(frame=slice(0, 20)), pilot=None)
    return rank_statistics(statistics, simulations=100, draws=150, key=jax.random.key(shifted(0)))


def test_ranks_of_the_truth_are_uniform(ranked):
    from scipy.stats import kstest

    names = ranked["quantity"].values.astype(str)
    assert {"noise_A", "lengthscale_A-A", "amplitude_A-A"} <= set(names)
    assert sum(name.startswith("f_A-A(") for name in names) == 5
    for name in names:
        ranks = ranked["rank"].sel(quantity=name).values
        # Nine quantities: 0.001 each keeps a false alarm below one in a hundred.
        assert kstest(ranks, "uniform").pvalue > 0.001, name


@pytest.mark.filterwarnings("ignore:no pair term for A-C", "ignore:Pareto k")
def test_terms_that_are_no_curves_are_ranked_along_what_data_know():
    """Triplets by directions, and a permittivity, whose one coefficient is its direction."""
    rng = np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * 0.4
    cg = bcg.from_arrays(
        lattice + rng.normal(0, 0.05, (4, 64, 3)), np.full(3, 1.6), ["A", "C"] * 32, temperature=300.0, mass=[40.0] * 64
    )
    cg = cg.assign(forces=(("frame", "bead", "xyz"), rng.normal(0, 100.0, (4, 64, 3))))
    potential = bcg.Potential(
        bcg.ThreeBody("A", "C", "C", 0.55, 0.1, 0.06, 0.2),
        bcg.Coulomb(0.7, charges={"A": 1.0, "C": -1.0}, dielectric=5.0, learn=True),
    )
    ranks = rank_statistics(
        bcg.force_statistics(potential, cg, pilot=None), simulations=20, draws=30, key=jax.random.key(shifted(0))
    )["rank"]
    names = ranks["quantity"].values.astype(str)
    three = [name for name in names if name.startswith("w_three_")]
    assert len(three) == 5
    assert sum(name.startswith("w_") for name in names) == 6
    assert float(ranks.min()) >= 0
    assert float(ranks.max()) <= 1
    # A sign or an order that is wrong would put all truths on one side.
    for name in names:
        assert 0.2 < float(ranks.sel(quantity=name).mean()) < 0.8, name


def test_rank_statistics_refuse_bad_choices(liquid):
    statistics = bcg.force_statistics(POTENTIAL, liquid.isel(frame=slice(0, 4)), pilot=None)
    with pytest.raises(ValueError, match="method must be one of"):
        rank_statistics(statistics, method="hmc", key=jax.random.key(0))
    with pytest.raises(ValueError, match="at least 2"):
        rank_statistics(statistics, simulations=1, key=jax.random.key(0))


def test_figures(found, ranked):
    figure = bcg.plots.coverage(found)
    assert [axes.get_ylabel() for axes in figure.axes] == ["rms z", "coverage of 90%"]
    assert "16 segments of 10 frames" in figure.axes[0].get_title(loc="left")
    with pytest.raises(ValueError, match="no coverage of term 'B-B'; there are A-A"):
        bcg.plots.coverage(found, "B-B")
    bcg.plots.ranks(ranked, ["noise_A", "amplitude_A-A"]).canvas.draw()
    with pytest.raises(ValueError, match="no ranks of nothing"):
        bcg.plots.ranks(ranked, ["nothing"])
