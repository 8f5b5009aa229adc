"""From systems to predictions: a small world of Lennard-Jones fluids, end to end; and what is refused."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg import transfer
from bayescg._runtime import double_precision
from bayescg.inference import Sampling
from bayescg.transfer import layout
from bayescg.transfer.aligned.contact import contact_distance
from bayescg.transfer.drawing import as_arrays, draw_systems
from bayescg.transfer.gaussian import log_evidence
from bayescg.transfer.model import Problem, design_at, lift_and_mean
from tests.seeds import shifted
from tests.transfer import world

PLAN = Sampling(chains=1, draws=60)
PLACES = [(0.1, 0.2), (0.9, 0.1), (0.5, 0.5), (0.2, 0.9), (0.8, 0.8), (0.45, 0.15)]


def descriptors(x):
    return {"x1": x[0], "x2": x[1]}


@pytest.fixture(scope="module")
def fluids():
    return [world.fluid(x) for x in PLACES]


@pytest.fixture(scope="module")
def sums(fluids):
    data = [world.with_noise(world.frames(one, 3, k), k) for k, one in enumerate(fluids)]
    return [bcg.force_statistics(world.POTENTIAL, each) for each in data]


@pytest.fixture(scope="module")
def systems(sums):
    return [transfer.System(s, descriptors=descriptors(x)) for s, x in zip(sums, PLACES, strict=True)]


@pytest.fixture(scope="module")
def posterior(systems):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transfer.fit(
            systems[:5], kernel=transfer.StateKernel(rank=3), settings=PLAN, key=jax.random.key(shifted(0))
        )


def test_layout(posterior):
    draws = posterior["posterior"]
    assert draws["coefficients"].dims == ("chain", "draw", "system", "basis")
    assert draws["coefficients"].shape == (1, 60, 5, 40)
    assert set(draws["contact_A-A"].dims) == {"chain", "draw", "system"}
    np.testing.assert_allclose(draws["contact_A-A"].mean(("chain", "draw")), [0.34] * 5, atol=0.06)


def test_saved_and_loaded_it_predicts_the_same(posterior, tmp_path):
    bcg.save(posterior, tmp_path / "transfer.nc")
    back = bcg.load(tmp_path / "transfer.nc")
    here, there = (transfer.predict(p, descriptors((0.5, 0.4)), key=jax.random.key(3)) for p in (posterior, back))
    xr.testing.assert_allclose(here["posterior"].to_dataset(), there["posterior"].to_dataset())


def test_predictions_have_the_layout_of_a_fit(posterior, tmp_path):
    found = transfer.predict(posterior, descriptors((0.5, 0.4)), key=jax.random.key(0))
    assert bcg.posterior.potential_of(found) == world.POTENTIAL
    assert found["posterior"]["coefficients"].dims == ("chain", "draw", "basis")
    assert found["posterior"]["f_A-A"].dims == ("chain", "draw", "x_A-A")
    assert found.attrs["extrapolated"] == ""
    assert 0 <= found.attrs["uninformed"] <= 1
    bcg.export(found, tmp_path / "out", format="lammps", draws=2, key=jax.random.key(0))
    assert max(bcg.posterior.attractive_shares(found).values()) < 0.2


def test_extrapolation_is_labelled(posterior):
    with pytest.warns(UserWarning, match="x1 lies outside"):
        found = transfer.predict(posterior, descriptors((1.4, 0.4)), key=jax.random.key(0))
    assert found.attrs["extrapolated"] == "x1"


def test_frames_of_the_new_system_sharpen_the_prediction(posterior, sums, fluids):
    x = np.linspace(0.36, 0.7, 30)
    width, error = {}, {}
    for label, own in (("unseen", None), ("seen", sums[5])):
        found = transfer.predict(posterior, descriptors(PLACES[5]), statistics=own, key=jax.random.key(1))
        w = found["posterior"]["coefficients"].values[0]
        force = bcg.posterior.curves(world.POTENTIAL, "A-A", w, x)[1]
        width[label] = float(np.mean(force.std(axis=0)))
        error[label] = float(np.sqrt(np.mean((force.mean(axis=0) - world.force(fluids[5], x)) ** 2)))
    assert width["seen"] < 0.8 * width["unseen"]
    assert error["seen"] < 1.2 * error["unseen"]


def test_one_of_the_systems(posterior):
    found = transfer.of_system(posterior, 2)
    expected = posterior["posterior"]["coefficients"].isel(system=2)
    np.testing.assert_array_equal(found["posterior"]["coefficients"], expected)
    with pytest.raises(ValueError, match="no system 'x'; systems: 0, 1"):
        transfer.of_system(posterior, "x")


def test_rank_limited_evidence_equals_the_dense_one_on_real_sums(posterior):
    """All systems as one Gaussian vector of coefficients, in the systems' own coordinates."""
    stored = layout.read(posterior)
    with double_precision():
        problem = as_arrays(Problem(stored.model, stored.states, stored.sums, stored.measured))
        values = {name: jnp.asarray(v[7]) for name, v in stored.values.items()}
        design = design_at(problem, values)
        term = stored.model.terms[0]
        curve = np.asarray(term.factor(stored.model.kernels["A-A"], values))
        columns, sizes, own = (np.asarray(p) for p in (design.columns, design.sizes[:, 0], design.own[:, 0]))
        between = (columns * sizes**2) @ columns.T + np.diag(own**2)
        parts = []
        for s in range(5):
            lift, mean = lift_and_mean(stored.model, stored.ratios[7, s])
            parts.append((stored.sums.design[s] @ np.asarray(lift) @ curve, stored.sums.design[s] @ np.asarray(mean)))
        rows = np.concatenate([x for x, _ in parts])
        of = np.repeat(np.arange(5), len(parts[0][0]))
        covariance = between[of[:, None], of] * (rows @ rows.T) + np.eye(len(rows))
        y = np.concatenate([t - m for t, (_, m) in zip(stored.sums.target, parts, strict=True)])
        _, log_det = np.linalg.slogdet(covariance)
        dense = -0.5 * (y @ np.linalg.solve(covariance, y) + log_det + len(y) * np.log(2 * np.pi))
        np.testing.assert_allclose(float(log_evidence(design)), dense, rtol=1e-9)


def test_every_system_is_compared_with_the_others(posterior):
    found = transfer.leave_one_system_out(posterior)
    assert found["p"].shape == (5,)
    assert bool(((found["p"] >= 0) & (found["p"] <= 1)).all())
    assert bool(np.isfinite(found["elpd"]).all())
    assert found["extrapolated"].values.tolist() == [True, True, False, True, False]


def test_the_same_key_gives_the_same_draws(posterior):
    stored = layout.read(posterior)
    with double_precision():
        problem = as_arrays(Problem(stored.model, stored.states, stored.sums, stored.measured))
        values = {name: v[:4] for name, v in stored.values.items()}
        one, other = (draw_systems(problem, values, key=jax.random.key(5)) for _ in range(2))
    np.testing.assert_array_equal(one.systems, other.systems)


def test_contact_is_where_the_density_of_pairs_is_half(sums):
    """Against a density that rises linearly from 0.33 to 0.37 nm, in narrow intervals and in those of the fit."""
    term = world.POTENTIAL.terms[0]
    fine = dataclasses.replace(term, knot_spacing=0.001)
    rise = np.clip((fine.spline.knots[:-1] + 0.0005 - 0.33) / 0.04, 0, 1)
    counts = 1e5 * np.diff(fine.spline.knots**3) * rise
    coarse = counts.reshape(-1, 20).sum(axis=1)
    assert contact_distance(fine, counts).distance == pytest.approx(0.35, abs=1e-3)
    found = contact_distance(term, coarse)
    assert abs(found.distance - 0.35) < 2 * found.error < 5e-3
    errors = [contact_distance(term, s.counts["A-A"]).error for s in sums]
    assert all(1e-4 < e < 6e-3 for e in errors)


def moved(system, **fields):
    return dataclasses.replace(system, **fields)


def fail(systems, words, **settings):
    with pytest.raises(ValueError, match=words):
        transfer.fit(systems, settings=PLAN, key=jax.random.key(0), **settings)


def test_bad_sets_of_systems_are_refused(systems, sums):
    few = systems[:3]
    fail(few[:1], "1 system: transfer learns from differences")
    fail([few[0], "x"], r"systems\[1\] is a str")
    fail([moved(s, descriptors={"x1": 1.0}) for s in few], "descriptor x1 is the same for all")
    fail([moved(s, descriptors={"a": k, "b": 2 * k + 1}) for k, s in enumerate(few)], "a, b are collinear")
    fail([moved(s, descriptors={}) for s in few], "no descriptors")
    fail([few[0], moved(few[1], descriptors={"x1": 0.3})], "give all systems the same")
    fail([moved(s, name="a") for s in few], "different names")
    fail(few, "unknown terms", kernels={"B-B": "RBF"})
    fail(few, "unknown terms", kernel=transfer.StateKernel(aligned=("B-B",)))
    fail(few, "one of laplace, nuts; got 'vi'", method="vi")
    fail(few, "calibration must be one of", calibration="x")
    other = bcg.Potential(bcg.Pair("A", "A", cutoff=0.9, start=world.START, knot_spacing=world.SPACING))
    shorter = dataclasses.replace(sums[1], potential=other)
    fail([few[0], moved(few[1], statistics=shorter)], "different cutoffs 0.9 nm and 1 nm|different cutoffs 1 nm and")


def test_bad_systems_are_refused(sums):
    with pytest.raises(ValueError, match="statistics are of a run at"):
        transfer.System(sums[0], temperature=200.0)
    with pytest.raises(ValueError, match="x1 must be a finite number"):
        transfer.System(sums[0], descriptors={"x1": float("nan")})
    with pytest.raises(ValueError, match="needs ForceStatistics"):
        transfer.System("x")


def test_a_system_without_contact_is_refused(systems, sums):
    flat = {
        n: {t: np.diff(world.POTENTIAL.terms[0].spline.knots ** 3) * 1e4 for t in v} for n, v in sums[0].visits.items()
    }
    soft = moved(systems[0], statistics=dataclasses.replace(sums[0], visits=flat))
    fail([soft, *systems[1:3]], "system 0: A-A: no distance of contact")


def test_bad_questions_are_refused(posterior):
    with pytest.raises(ValueError, match="descriptors must be x1, x2; got x1"):
        transfer.predict(posterior, {"x1": 0.3}, key=jax.random.key(0))
    with pytest.raises(ValueError, match="finite numbers"):
        transfer.predict(posterior, {"x1": 0.3, "x2": float("inf")}, key=jax.random.key(0))
    found = transfer.predict(posterior, descriptors((0.5, 0.4)), key=jax.random.key(0))
    with pytest.raises(ValueError, match="of one system"):
        transfer.predict(found, descriptors((0.5, 0.4)), key=jax.random.key(0))
