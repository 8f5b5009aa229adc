"""Sufficient statistics: additive over any split, equal to dense sums, saved and loaded, refusing what does not fit."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data import Topology
from bayescg.geometry.images import minimum_image
from bayescg.inference.pilot import pilot_of
from bayescg.inference.statistics.asked import Fold
from bayescg.inference.statistics.files import from_dataset
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.streaming import statistics_of
from bayescg.inference.statistics.sums.columns import unpack_scores
from bayescg.potentials import WCA, Interactions

pytestmark = pytest.mark.filterwarnings("ignore:no pair term for A-A")

POTENTIAL = bcg.Potential(
    bcg.Pair("A", "B", cutoff=0.9, knot_spacing=0.05, baseline=WCA(0.3, 1.0)),
    bcg.Pair("B", "B", cutoff=0.7, knot_spacing=0.05),
    bcg.Bond("A", "B", start=0.1, stop=0.6, knot_spacing=0.05),
    exclude_bonds=1,
)


def random_system(frames=130, seed=0):
    rng = np.random.default_rng(seed)
    ends = rng.uniform(0, 2.0, (frames, 12, 3))
    other = ends + 0.3 * rng.normal(size=(frames, 12, 3)) / 2
    positions = np.stack([ends, other], 2).reshape(frames, 24, 3)
    topology = Topology.from_bonds(24, np.arange(24).reshape(12, 2))
    data = bcg.from_arrays(
        positions, np.eye(3) * 2.0, ["A", "B"] * 12, temperature=300.0, mass=[10.0, 12.0] * 12, topology=topology
    )
    return data.assign(forces=(("frame", "bead", "xyz"), rng.normal(size=positions.shape) * 100))


@pytest.fixture(scope="module")
def data():
    return random_system()


@pytest.fixture(scope="module")
def pilot(data):
    """Any coefficients, and others for some of the frames: what a fit to these random forces gives would be absurd."""
    fitted = bcg.fit_pilot(POTENTIAL, data, frames=20)
    rng = np.random.default_rng(3)
    several = 10 * rng.normal(size=(3, len(fitted.coefficients)))
    folds = tuple(Fold(data.attrs["source"], 5 * k, 5 * k + 4, tuple(several[k].tolist())) for k in (1, 2))
    return replace(fitted, coefficients=tuple(several[0].tolist()), folds=folds)


@pytest.fixture(scope="module")
def whole(data, pilot):
    return statistics_of(POTENTIAL, data, pilot=pilot)


def assert_same(a: ForceStatistics, b: ForceStatistics, rtol=1e-12):
    assert sorted(a.sums) == sorted(b.sums)
    assert a.levels == b.levels
    for key in a.sums:
        for name, x, y in zip(a.sums[key]._fields, a.sums[key], b.sums[key], strict=True):
            scale = np.abs(x).max()
            np.testing.assert_allclose(y, x, rtol=0, atol=rtol * scale, err_msg=f"{name} of {key}")
    assert sorted(a.scores) == sorted(b.scores)
    for source, products in a.scores.items():
        np.testing.assert_allclose(b.scores[source], products, rtol=0, atol=rtol * np.abs(products).max())
    for name in a.counts:
        np.testing.assert_allclose(b.counts[name], a.counts[name], rtol=1e-13)
    for name, ends in a.ranges.items():
        np.testing.assert_allclose(b.ranges[name], ends, rtol=1e-12)


@pytest.mark.parametrize("chunks", [1, 2, 7, 50])
def test_any_split_gives_the_same_sums(data, whole, pilot, chunks):
    edges = np.linspace(0, data.sizes["frame"], chunks + 1).astype(int)
    parts = [data.isel(frame=slice(a, b)) for a, b in itertools.pairwise(edges)]
    assert_same(whole, statistics_of(POTENTIAL, iter(parts), pilot=pilot))
    one_by_one = [statistics_of(POTENTIAL, part, pilot=pilot) for part in parts]
    assert_same(whole, sum(one_by_one[1:], start=one_by_one[0]))
    order = np.random.default_rng(0).permutation(chunks)
    shuffled = [one_by_one[k] for k in order]
    assert_same(whole, sum(shuffled[1:], start=shuffled[0]))


def test_sums_equal_a_dense_design(data, whole, pilot):
    interactions = Interactions.of(POTENTIAL, data)
    types = np.asarray(data["bead_type"].values)
    design_rows, baseline_forces = jax.jit(POTENTIAL.design_rows), jax.jit(POTENTIAL.baseline_forces)
    gram = cross = square = scores = 0
    types_of = np.where(data["bead_type"].values == "A", 0, 1)
    with double_precision():
        for frame in range(data.sizes["frame"]):
            box = data["box"].values[frame]
            configuration = interactions.configuration(data["positions"].values[frame].astype(float), box)
            configuration = jax.tree.map(jnp.asarray, configuration)
            rows = design_rows(configuration)
            base = baseline_forces(configuration)
            j = np.concatenate([rows, base], axis=1)
            f = data["forces"].values[frame].astype(float)
            per_type = [(j[types == t], f[types == t]) for t in ("A", "B")]
            gram = gram + np.stack([np.einsum("nkx,nlx->kl", a, a) for a, _ in per_type])
            cross = cross + np.stack([np.einsum("nkx,nx->k", a, b) for a, b in per_type])
            square = square + np.stack([np.sum(b**2) for _, b in per_type])
            # Scores by the definition: every bead with itself and with all beads nearer than the radius.
            ((_, about),) = pilot.about(data.attrs["source"], np.array([frame]))
            known = np.concatenate([about.coefficients, np.ones(j.shape[1] - rows.shape[1])])
            own = np.einsum("nkx,nx->nk", rows, f - np.einsum("nkx,k->nx", j, known))
            x = data["positions"].values[frame].astype(float)
            apart = minimum_image(x[:, None] - x[None], box)
            near = np.linalg.norm(apart, axis=-1) < pilot.radius
            masks = [(0, 0), (0, 1), (1, 1)]
            scores = scores + np.stack(
                [own.T @ (near & _between(types_of, a, b)).astype(float) @ own for a, b in masks]
            )
    total = whole.total()
    assert whole.bead_types == ("A", "B")
    np.testing.assert_allclose(total.gram, gram, atol=1e-11 * np.abs(gram).max())
    np.testing.assert_allclose(total.cross, cross, atol=1e-11 * np.abs(cross).max())
    np.testing.assert_allclose(total.square, square, rtol=1e-12)
    np.testing.assert_array_equal(total.components, [12 * 3 * 130] * 2)
    (packed,) = whole.scores.values()
    stored = np.stack(list(unpack_scores(whole.potential, 1, packed)))
    np.testing.assert_allclose(stored, scores, atol=1e-11 * np.abs(scores).max())
    weight = np.array([0.3, 2.0])
    expected = 0.09 * scores[0] + 0.6 * scores[1] + 4.0 * scores[2]
    np.testing.assert_allclose(whole.score_covariance(weight), expected, atol=1e-11 * np.abs(expected).max())


def _between(types, a, b):
    return (types[:, None] == a) & (types[None] == b) | (types[:, None] == b) & (types[None] == a)


def test_blocks_are_bounded_and_aligned(whole):
    assert len(whole.sums) <= 64
    (level,) = whole.levels.values()
    assert level == 2  # 130 frames: 65 blocks of two frames would be one too many
    assert [number for _, number in sorted(whole.sums)] == list(range(33))


def test_saved_and_loaded(whole, tmp_path):
    path = bcg.save(whole, tmp_path / "statistics.nc")
    again = bcg.load(path)
    assert again.potential == whole.potential
    assert_same(whole, again, rtol=0)
    (source,) = whole.frames
    np.testing.assert_array_equal(again.frames[source], whole.frames[source])


def test_open_bond_ranges_come_from_the_data(data):
    potential = bcg.Potential(bcg.Bond("A", "B"))
    filled = statistics_of(potential, data).potential
    low, high = statistics_of(filled, data).ranges["bond_A-B"]
    (term,) = filled.terms
    assert term.start <= low
    assert high <= term.stop


def test_addition_refuses_what_does_not_fit(data, whole, pilot):
    with pytest.raises(ValueError, match="would count twice"):
        whole + statistics_of(POTENTIAL, data.isel(frame=[3]), pilot=pilot)
    with pytest.raises(ValueError, match="pilots differ"):
        whole + statistics_of(POTENTIAL, data.isel(frame=[3]).assign_attrs(source="other"))
    with pytest.raises(ValueError, match=r"has the weights 1\.0 and 2\.0"):
        whole + statistics_of(POTENTIAL, data.isel(frame=[3]).assign_attrs(source="b"), pilot=pilot).weighted(2.0)
    with pytest.raises(ValueError, match="belongs to two systems"):
        whole + statistics_of(POTENTIAL, data.isel(frame=[3]), pilot=pilot, system="other")
    for weight in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="give a positive number"):
            whole.weighted(weight)
    other = bcg.Potential(bcg.Pair("A", "B", cutoff=0.9))
    with pytest.raises(ValueError, match="different potentials"):
        whole + statistics_of(other, data.isel(frame=[3]))
    warmer = data.isel(frame=[3]).assign_attrs(temperature=310.0, source="other")
    with pytest.raises(ValueError, match="temperatures differ"):
        whole + statistics_of(POTENTIAL, warmer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("forces"), "hold no forces"),
        (lambda d: d.isel(frame=slice(0, 0)), "no frames"),
        (lambda d: d.assign_attrs({k: v for k, v in d.attrs.items() if k != "temperature"}), "no temperature"),
        (lambda d: d.assign(box=d["box"] * 0.5), "exceeds half the shortest box height"),
        (lambda d: d.assign_coords(charge=("bead", np.ones(24))), "net charge"),
        (lambda d: d.assign_coords(bead_type=("bead", ["A", "C"] * 12)), "names bead type 'B'; the data have A, C"),
        (lambda d: d.drop_vars("bonds"), "no bond between A-B"),
        (lambda d: d.assign(forces=d["forces"].where(d["frame"] != 7)), "forces of bead 0 in frame 7 are not finite"),
        (lambda d: d.assign_coords(frame=np.arange(130) // 2), "appear twice"),
        (lambda d: d.assign_attrs(temperature=-5.0), "must be positive"),
    ],
)
def test_bad_data_is_refused(data, change, message):
    attrs = dict(data.attrs)
    changed = change(data)
    if "temperature" in message:
        attrs.pop("temperature")
        changed = data.copy()
        changed.attrs = attrs
    with pytest.raises(ValueError, match=message):
        statistics_of(POTENTIAL, changed)


def test_a_pilot_of_another_potential_is_refused(data, pilot):
    other = bcg.Potential(bcg.Pair("A", "B", cutoff=0.8))
    with pytest.raises(ValueError, match="the pilot belongs to another potential"):
        statistics_of(other, data, pilot=pilot)
    with pytest.raises(ValueError, match="at least one frame"):
        bcg.fit_pilot(POTENTIAL, data, frames=0)


def test_a_pilot_needs_few_blocks(data):
    some = data.isel(frame=slice(0, 100))
    few, many = bcg.fit_pilot(POTENTIAL, some, frames=100), pilot_of(statistics_of(POTENTIAL, some))
    assert few.radius == many.radius
    np.testing.assert_allclose(few.coefficients, many.coefficients, rtol=1e-6)
    for found in (few, many):
        assert len(found.folds) == 8
        # Every frame is scored once, and about something that was not fitted to it alone.
        parts = found.about(data.attrs["source"], np.arange(130))
        np.testing.assert_array_equal(np.sort(np.concatenate([places for places, _ in parts])), np.arange(130))
        ((later, about),) = [(places, own) for places, own in parts if np.any(places == 120)]
        np.testing.assert_array_equal(later, np.arange(100, 130))
        assert about.coefficients == found.coefficients
    assert [len(own) for own, _ in few.about("elsewhere", np.arange(130))] == [130]


def test_scores_are_missing_where_there_was_no_pilot(data):
    plain = statistics_of(POTENTIAL, data.isel(frame=slice(0, 4)))
    with pytest.raises(ValueError, match="hold no scores"):
        plain.score_covariance(np.ones(2))
    with pytest.raises(ValueError, match="hold no scores"):
        bcg.force_match(POTENTIAL, plain, key=jax.random.key(0))


def test_missing_pair_terms_are_said(data):
    with pytest.warns(UserWarning, match="no pair term for A-A"):
        statistics_of(POTENTIAL, data.isel(frame=[0]))


def test_damaged_file_is_refused(tmp_path):
    (tmp_path / "statistics.nc").write_bytes(b"not netCDF")
    with pytest.raises(ValueError, match="neither netCDF nor"):
        bcg.load(tmp_path / "statistics.nc")


def test_an_empty_stream_is_refused():
    with pytest.raises(ValueError, match="trajectory is empty"):
        statistics_of(POTENTIAL, iter([]))


def test_foreign_file_is_refused(data):
    with pytest.raises(ValueError, match="holds no force statistics"):
        from_dataset(data)


def test_beads_on_top_of_each_other():
    """NaN in sums would be saved and spoil every later fit."""
    data = random_system(frames=4)
    positions = data["positions"].values.copy()
    positions[2, 5] = positions[2, 3]
    broken = data.assign(positions=(data["positions"].dims, positions))
    with pytest.raises(ValueError, match=r"beads 3 and 5 in frame 2 are on top of each other"):
        statistics_of(POTENTIAL, broken)


def test_a_force_that_overflows():
    data = random_system(frames=4)
    forces = data["forces"].values.astype(float)
    forces[1, 4, 2] = 1e200
    with pytest.raises(ValueError, match=r"force on bead 4 in frame 1 is 1e\+200 kJ/mol/nm"):
        statistics_of(POTENTIAL, data.assign(forces=(data["forces"].dims, forces)))
