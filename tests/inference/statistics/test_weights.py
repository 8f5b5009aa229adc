"""Weights of frames: whole numbers are repeats, a factor says nothing, 0 leaves a frame out, and nothing is lost."""

import itertools

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.data.dataset import joined
from bayescg.inference import pilot as pilots
from bayescg.inference.statistics.program.frames import EQUATIONS
from bayescg.inference.statistics.streaming import chunk_statistics, statistics_of
from bayescg.inference.statistics.weights import effective, first_frames, require_equal
from tests.inference.statistics.test_force_statistics import POTENTIAL, assert_same, random_system

pytestmark = pytest.mark.filterwarnings("ignore:no pair term for A-A", "ignore:the .* frames are worth")
FRAMES = 24
BARE = bcg.Potential(
    bcg.Pair("A", "B", cutoff=0.9, knot_spacing=0.05),
    bcg.Bond("A", "B", start=0.1, stop=0.6, knot_spacing=0.05),
    exclude_bonds=1,
)


@pytest.fixture(scope="module")
def data():
    return random_system(FRAMES)


@pytest.fixture(scope="module")
def pilot(data):
    return bcg.fit_pilot(POTENTIAL, data)


def weighted(data, values):
    return data.assign(weight=("frame", np.asarray(values, float)))


def uneven(seed=0):
    return np.exp(np.random.default_rng(seed).normal(0, 1, FRAMES))


def small_fit(data, **choices):
    """Without the baseline: its forces reach 1e12 where these beads overlap, and all others are noise next to them."""
    return bcg.force_match(
        BARE, data, method="laplace", settings=bcg.Sampling(1, 1, 50), key=jax.random.key(0), **choices
    )


@pytest.mark.parametrize("equations", [EQUATIONS[:1], EQUATIONS], ids=["forces", "both"])
def test_whole_weights_are_repeated_frames(data, pilot, equations):
    times = np.random.default_rng(1).integers(1, 4, FRAMES)
    repeated = data.isel(frame=np.repeat(np.arange(FRAMES), times)).assign_coords(frame=np.arange(times.sum()))
    once = statistics_of(POTENTIAL, weighted(data, times), pilot=pilot, equations=equations)
    often = statistics_of(POTENTIAL, repeated, pilot=pilot, equations=equations)
    assert np.any(often.total().divergence) == (equations == EQUATIONS)
    ratio = once.effective_frames / times.sum()  # sums are scaled to effective frames
    assert once.effective_frames == pytest.approx(times.sum() ** 2 / np.sum(times**2))
    for name, one, many in zip(once.total()._fields, once.total(), often.total(), strict=True):
        np.testing.assert_allclose(one, ratio * many, atol=1e-11 * np.abs(many).max(), err_msg=name)
    for name, counts in often.counts.items():
        np.testing.assert_allclose(once.counts[name], ratio * counts, rtol=1e-11)
    assert once.ranges == often.ranges


@pytest.mark.parametrize("equations", [EQUATIONS[:1], EQUATIONS], ids=["forces", "both"])
def test_scores_carry_squared_weights(data, pilot, equations):
    """By the definition: the score of a weighted frame is w times its own, its product w^2 times its own."""
    weights = uneven()
    found = statistics_of(POTENTIAL, weighted(data, weights), pilot=pilot, equations=equations)
    expected = 0
    for frame, w in enumerate(weights):
        alone = statistics_of(POTENTIAL, data.isel(frame=[frame]), pilot=pilot, equations=equations)
        expected = expected + w**2 * alone.score_covariance(np.array([2.0, 0.5]))
    expected = expected * (weights.sum() / np.sum(weights**2)) ** 2
    got = found.score_covariance(np.array([2.0, 0.5]))
    np.testing.assert_allclose(got, expected, atol=1e-11 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore:held-out")
def test_a_common_factor_says_nothing(data):
    weights = uneven()
    one, other = (bcg.force_statistics(POTENTIAL, weighted(data, c * weights)) for c in (1.0, 3e-7))
    assert other.effective_frames == pytest.approx(one.effective_frames, rel=1e-13)
    for a, b in zip(one.total(), other.total(), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-9 * np.abs(a).max())
    for name, counts in one.counts.items():
        np.testing.assert_allclose(other.counts[name], counts, rtol=1e-12)
    # These forces are noise alone, and their posterior is wide: a factor that rounds nothing.
    one, four = (bcg.force_statistics(BARE, weighted(data, c * weights)) for c in (1.0, 4.0**9))
    first, second = (small_fit(s)["posterior"]["coefficients"].values for s in (one, four))
    np.testing.assert_allclose(second, first, rtol=1e-9)


def test_equal_weights_are_none(data):
    one, other = bcg.force_statistics(POTENTIAL, data), bcg.force_statistics(POTENTIAL, weighted(data, [4.0] * FRAMES))
    assert other.effective_frames == FRAMES
    for a, b in zip(one.total(), other.total(), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-9 * np.abs(a).max())
    require_equal(other.n_frames, other.effective_frames, "a fit", "")


def test_weight_zero_leaves_a_frame_out(data):
    weights = uneven()
    weights[[0, 3, 4, 5, 20]] = 0.0
    # A frame with a bond of its own length: it must not widen the sampled ranges.
    stretched = data.copy(deep=True)
    stretched["positions"][4, 1::2] += 0.08
    left = stretched.assign_coords(frame=np.arange(FRAMES)).isel(frame=weights > 0)
    open_range = bcg.Potential(*[t for t in POTENTIAL.terms if not isinstance(t, bcg.Bond)], bcg.Bond("A", "B"))
    for potential in (POTENTIAL, open_range):
        zeros = bcg.force_statistics(potential, weighted(stretched, weights))
        without = bcg.force_statistics(potential, left.assign(weight=("frame", weights[weights > 0])))
        assert zeros.potential == without.potential
        assert zeros.pilot == without.pilot
        assert zeros.ranges == without.ranges
        assert zeros.n_frames == FRAMES - 5
        assert_same(zeros, without)


def test_chunks_add_up(data, pilot):
    cg = weighted(data, uneven())
    cg["weight"][:8] = 0.0  # a chunk without any weight
    whole = statistics_of(POTENTIAL, cg, pilot=pilot)
    edges = [0, 8, 11, 19, FRAMES]
    parts = [cg.isel(frame=slice(a, b)) for a, b in itertools.pairwise(edges)]
    assert_same(whole, statistics_of(POTENTIAL, iter(parts), pilot=pilot))
    assert bcg.fit_pilot(POTENTIAL, iter(parts)) == bcg.fit_pilot(POTENTIAL, cg)
    added = [statistics_of(POTENTIAL, part, pilot=pilot) for part in parts[1:]]
    total = added[2] + added[0] + added[1]
    assert_same(whole, total)
    assert total.effective_frames == pytest.approx(whole.effective_frames, rel=1e-13)


def test_files_keep_weights(data, tmp_path):
    cg = weighted(data, uneven())
    bcg.save(cg, tmp_path / "cg.nc")
    again = bcg.load(tmp_path / "cg.nc")
    np.testing.assert_array_equal(again["weight"], cg["weight"])
    np.testing.assert_array_equal(
        joined([cg.isel(frame=slice(9)), cg.isel(frame=slice(9, None))])["weight"], again["weight"]
    )
    found = bcg.force_statistics(POTENTIAL, again)
    bcg.save(found, tmp_path / "statistics.nc")
    read = bcg.load(tmp_path / "statistics.nc")
    assert read.effective_frames == found.effective_frames == pytest.approx(effective(cg["weight"].values))
    assert_same(found, read, rtol=0)
    for a, b in zip(found.total(), read.total(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0] * 5 + [-0.5] + [1.0] * 18, "weight of frame 5 is -0.5"),
        ([np.nan] + [1.0] * 23, "weight of frame 0 is nan"),
        ([1.0] * 23 + [np.inf], "subtract the largest exponent"),
        ([0.0] * FRAMES, "all frames have the weight 0"),
    ],
)
def test_wrong_weights_are_refused(data, values, words):
    cg = weighted(data, values)
    for given in (cg, iter([cg.isel(frame=slice(12)), cg.isel(frame=slice(12, None))])):
        with pytest.raises(ValueError, match=words):
            bcg.force_statistics(POTENTIAL, given)


def test_wrong_shapes_are_refused(data):
    with pytest.raises(ValueError, match="one number for each of the 24 frames"):
        bcg.force_statistics(POTENTIAL, data.assign(weight=("bead", np.ones(24))))
    with pytest.raises(ValueError, match="some chunks have the variable `weight`"):
        statistics_of(POTENTIAL, iter([weighted(data, uneven()), data.assign_attrs(source="other")]))
    with pytest.raises(ValueError, match="some chunks have the variable `weight`"):
        bcg.force_statistics(POTENTIAL, iter([data, weighted(data, uneven())]))


def test_fits_report_effective_frames(data):
    weights = np.full(FRAMES, 1e-3)
    weights[-3:] = 1.0
    with pytest.warns(UserWarning, match="24 frames are worth 3.0"):
        fitted = small_fit(weighted(data, weights))
    assert fitted["posterior"].attrs["effective_frames"] == pytest.approx(effective(weights))
    assert fitted["posterior"].attrs["n_frames"] == FRAMES
    statistics = bcg.force_statistics(BARE, weighted(data, weights), pilot=None)
    with pytest.raises(ValueError, match="calibration='none' takes frames"):
        small_fit(statistics, calibration="none")
    with pytest.raises(ValueError, match="rank_statistics takes frames"):
        bcg.inference.rank_statistics(statistics, key=jax.random.key(0))


def test_pilots_stand_for_all_frames(monkeypatch):
    """The first frames weigh next to nothing: the pilot is that of the frames which have the weight."""
    many = random_system(400)
    weights = np.full(400, 1e-9)
    weights[300:] = np.exp(np.random.default_rng(3).normal(0, 0.5, 100))
    chosen = first_frames(weighted(many, weights), 50)
    assert chosen.sizes["frame"] <= 50
    assert chosen["weight"].sum() == 50
    numbers = np.flatnonzero(np.isin(many["time"].values, chosen["time"].values))
    assert numbers.min() >= 300
    # No frame is taken more or less often than its weight says, to within one.
    expected = 50 * weights / weights.sum()
    assert np.all(np.abs(chosen["weight"].values - expected[numbers]) < 1)
    # Of chunks the later ones are not known.
    monkeypatch.setattr(pilots, "_FRAMES", 5)
    monkeypatch.setattr(pilots, "_BEADS", 5 * 24)
    cg = weighted(many, weights)
    with pytest.warns(UserWarning, match="first chunks, which the pilot was fitted to"):
        bcg.force_statistics(POTENTIAL, (cg.isel(frame=slice(k, k + 50)) for k in range(0, 400, 50)))


def test_what_does_not_weigh_refuses(data):
    cg = weighted(data, uneven())
    with pytest.raises(ValueError, match="relative_entropy does not take weights"):
        bcg.relative_entropy(POTENTIAL, cg, key=jax.random.key(0))
    replicates = cg.assign(forces=(("replicate", *cg["forces"].dims), np.stack([cg["forces"].values] * 3)))
    with pytest.raises(ValueError, match="noise_ceiling does not take weights"):
        bcg.noise_ceiling(replicates)


def test_observables_weigh(data):
    times = np.random.default_rng(5).integers(0, 4, FRAMES)
    repeated = data.isel(frame=np.repeat(np.arange(FRAMES), times))
    one = bcg.observables.rdf(weighted(data, times), "A", "B", cutoff=0.9, blocks=1)
    many = bcg.observables.rdf(repeated, "A", "B", cutoff=0.9, blocks=1)
    np.testing.assert_allclose(one, many, rtol=1e-12)


def test_packed_scores_are_zero_without_weight(data, pilot):
    """Frames of weight 0 that reach the compiled pass all the same add nothing."""
    weights = np.zeros(FRAMES)
    weights[7] = 1.0
    found = chunk_statistics(POTENTIAL, weighted(data, weights), pilot=pilot)
    alone = chunk_statistics(POTENTIAL, data.isel(frame=[7]), pilot=pilot)
    (a,), (b,) = found.scores.values(), alone.scores.values()
    np.testing.assert_allclose(a, b, atol=1e-12 * np.abs(b).max())


def test_counts_do_not_depend_on_the_scale_of_one_systems_weights():
    from tests.inference.statistics.test_force_statistics import random_system

    potential = bcg.Potential(
        bcg.Pair("A", "A", cutoff=0.8, knot_spacing=0.05), bcg.Bond("A", "B", start=0.1, stop=0.9)
    )
    found = []
    for factor in (1.0, 1e-6):
        one = random_system(frames=8, seed=1).assign_attrs(source="one")
        one["weight"] = ("frame", factor * np.array([1.0, 2.0, 3.0, 1.0, 1.0, 0.5, 1.0, 1.0]))
        two = random_system(frames=8, seed=2).assign_attrs(source="two")
        pilot = bcg.fit_pilot(potential, two)
        both = [bcg.force_statistics(potential, cg, pilot=pilot, system=name) for cg, name in ((one, "a"), (two, "b"))]
        found.append((both[0] + both[1]).counts)
    for name, counts in found[0].items():
        np.testing.assert_allclose(found[1][name], counts, rtol=1e-12)


def test_chunks_of_another_volume_have_no_structure():
    from tests.inference.statistics.test_force_statistics import random_system

    potential = bcg.Potential(bcg.Pair("A", "B", cutoff=0.7, knot_spacing=0.05))
    cg = random_system(frames=4, seed=1)
    chunks = [cg.isel(frame=[k]).assign(box=(1 + 0.01 * k) * cg["box"].isel(frame=[k])) for k in range(4)]
    with pytest.raises(ValueError, match="the box changes"):
        bcg.force_statistics(potential, iter(chunks), pilot=None, structure="only")
