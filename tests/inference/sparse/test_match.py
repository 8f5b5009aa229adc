"""Sparse fits: evidence and shrinkage against closed forms, planted candidates found, whole terms left out."""

import jax
import numpy as np
import pytest
from scipy import optimize

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference import Sampling
from bayescg.inference.sparse import horseshoe, relevance, supports
from bayescg.inference.sparse.library import Problem
from bayescg.posterior import only_choice
from bayescg.samplers.mode import find_mode
from bayescg.samplers.nuts import nuts
from bayescg.storage import load, save
from tests.inference import systems
from tests.seeds import shifted
from tests.studies.many_body import planted_library


def problem(gram, cross, group=None, components=1000.0):
    group = np.arange(len(cross)) if group is None else np.asarray(group)
    return Problem(np.asarray(gram, float), np.asarray(cross, float), group, None, 1.0, components, 1.0, {})


def test_one_candidate_has_its_closed_form():
    # Tipping & Faul (2003): the maximum is at s^2 = (q^2 - d) / d^2 if q^2 > d, and at zero otherwise.
    value, scale = relevance.maximize(problem([[50.0]], [40.0]), np.array([True]), np.ones(1))
    assert scale[0] ** 2 == pytest.approx((40.0**2 - 50.0) / 50.0**2, rel=1e-4)
    z = 40.0 / np.sqrt(50.0)
    assert value == pytest.approx(0.5 * (z**2 - 1) - np.log(z), rel=1e-6)
    value, _ = relevance.maximize(problem([[50.0]], [5.0]), np.array([True]), np.ones(1))
    assert value == pytest.approx(0.0, abs=1e-3)


def test_evidence_of_groups_is_that_of_a_dense_gaussian():
    rng = np.random.default_rng(0)
    design, scales, group = rng.normal(size=(40, 5)), np.array([0.3, 2.0]), np.array([0, 0, 0, 1, 1])
    forces = rng.normal(size=40) + design[:, 3]
    gram, cross = design.T @ design, design.T @ forces

    def exact(s):
        covariance = np.eye(40) + (design * s[group] ** 2) @ design.T
        return -0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * forces @ np.linalg.solve(covariance, forces)

    value, found = relevance.maximize(problem(gram, cross, group), np.ones(2, bool), scales)
    assert value == pytest.approx(exact(found) + 0.5 * forces @ forces, rel=1e-9)
    for k in range(2):
        for factor in (0.9, 1.1):
            moved = found.copy()
            moved[k] *= factor
            assert exact(moved) < exact(found)
    with double_precision():
        args = (gram, cross, group, 0.1, 1.0, np.zeros(2))
        sites = {"global_scale": 0.2, "local_scale": np.array([1.5, 10.0]), "slab_variance": 4.0}
        log_density = jax.jit(lambda s: _log_factor(horseshoe.model, args, s))(sites)
        own = np.asarray(horseshoe.scales(**sites))
    assert own == pytest.approx([np.sqrt(4 / (4 + 0.09)) * 0.3, np.sqrt(4 / (4 + 4.0)) * 2.0])
    assert float(log_density) == pytest.approx(exact(own) + 0.5 * forces @ forces, rel=1e-9)


def _log_factor(model, args, values):
    from numpyro import handlers

    found = handlers.trace(handlers.substitute(model, data=values)).get_trace(*args)
    return found["log_evidence"]["fn"].log_factor


def test_shrinkage_knows_what_others_explain():
    alone = relevance.shrinkage(problem(np.diag([10.0, 200.0]), [0.0, 0.0]), np.array([0.5, 0.1]))
    np.testing.assert_allclose(alone, [1 / (1 + 0.25 * 10), 1 / (1 + 0.01 * 200)])
    twins = relevance.shrinkage(problem([[100.0, 99.9], [99.9, 100.0]], [0.0, 0.0]), np.array([1.0, 1.0]))
    assert np.all(twins > 0.45)  # either could stand for the other
    assert relevance.shrinkage(problem([[100.0]], [0.0]), np.ones(1))[0] < 0.01


def test_chance_is_not_kept():
    # Evidence alone keeps whatever has |z| > 1, a third of all superfluous candidates.
    rng = np.random.default_rng(shifted(2))
    size, strong, kept, wanted = 20, 3, 0, 0
    for _ in range(20):
        gram = 1000 * np.eye(size)
        cross = np.sqrt(1000) * rng.normal(size=size)
        cross[:strong] += 1000 * 0.25  # z of 8
        found = relevance.select(problem(gram, cross))
        wanted += np.sum(found.scales[:strong] > 0)
        kept += np.sum(found.scales[strong:] > 0)
    assert wanted == 20 * strong
    # log Z rises by 3 at |z| = 3.2: 0.15 % of 340, not a third.
    assert kept <= 4


def test_correlated_twin_does_not_hide_the_truth():
    gram = 1000 * np.array([[1.0, 0.89, 0.1], [0.89, 1.0, 0.1], [0.1, 0.1, 1.0]])
    found = relevance.select(problem(gram, gram @ [0.0, 0.3, 0.0]))
    assert (found.scales > 0).tolist() == [False, True, False]


def exact_choices(given):
    """Log evidence of every choice that keeps all of its candidates, each scale at its closed-form best in turn.

    Tipping & Faul (2003): given the others, s^2 = max(q^2 - S, 0) / S^2 is the maximum.
    """
    found = {}
    for number in range(2 ** len(given.cross)):
        s2 = {k: 0.01 for k in range(len(given.cross)) if number >> k & 1}
        for _ in range(2000):
            before = dict(s2)
            for k in s2:
                rest = [j for j in s2 if j != k and s2[j] > 0]
                inner = np.linalg.inv(np.diag([1 / s2[j] for j in rest]) + given.gram[np.ix_(rest, rest)])
                shared = given.gram[k, rest] @ inner
                freedom = given.gram[k, k] - shared @ given.gram[rest, k]
                s2[k] = max((given.cross[k] - shared @ given.cross[rest]) ** 2 - freedom, 0.0) / freedom**2
            if all(abs(before[k] - s2[k]) <= 1e-8 * s2[k] for k in s2):
                break
        on = [k for k in s2 if s2[k] > 0]
        d = np.sqrt([s2[k] for k in on])
        b = np.eye(len(on)) + d[:, None] * given.gram[np.ix_(on, on)] * d
        x = d * given.cross[on]
        found[frozenset(on)] = 0.5 * x @ np.linalg.solve(b, x) - 0.5 * np.linalg.slogdet(b)[1]
    # What a smaller choice has to a hundredth is no choice of its own.
    return {s: v for s, v in found.items() if not any(v - found.get(s - {k}, -np.inf) < 0.01 for k in s)}


def least_squares(design, forces):
    return problem(design.T @ design, design.T @ forces, components=float(len(forces)))


def test_choices_are_those_of_all_subsets():
    # Five candidates, some alike, none beyond doubt: every subset that is probable enough is found, and weighed right.
    rng = np.random.default_rng(shifted(3))
    design = rng.normal(size=(400, 5))
    design[:, 1] += 1.5 * design[:, 0]
    given = least_squares(design, design @ [0.0, 0.15, 0.2, 0.0, 0.13] + rng.normal(size=400))
    exact = {s: v - 3 * len(s) for s, v in exact_choices(given).items()}
    best = max(exact.values())
    exact = {s: np.exp(v - best) for s, v in exact.items() if v > best - np.log(100)}
    choices = supports.explore(given, relevance.select(given))
    assert choices.complete
    found = {
        frozenset(np.flatnonzero(s).tolist()): p for s, p in zip(choices.scales, choices.probabilities, strict=True)
    }
    assert set(found) == set(exact)
    assert len(found) > 5
    for support, probability in found.items():
        assert probability == pytest.approx(exact[support] / sum(exact.values()), rel=1e-3)
    inclusion = supports.inclusion(choices)
    assert inclusion[2] == pytest.approx(sum(p for s, p in found.items() if 2 in s))
    drawn = supports.draw(choices, 500, key=jax.random.key(shifted(0)))
    np.testing.assert_allclose(np.bincount(drawn) / 500, choices.probabilities, atol=1 / 500)


def test_choices_among_groups_are_those_of_all_subsets():
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(4), [1, 3, 2, 2])
    design = rng.normal(size=(80, 8))
    design[:, 6:] += 1.2 * design[:, 4:6]
    forces = design @ [0.4, 0.0, 0.0, 0.0, 0.3, -0.3, 0.1, 0.0] + rng.normal(size=80)
    given = problem(design.T @ design, design.T @ forces, group, components=80.0)

    def minus_log(log_scales, on):
        covariance = np.eye(80)
        for s, k in zip(np.exp(log_scales), on, strict=True):
            covariance += s**2 * design[:, group == k] @ design[:, group == k].T
        fit = 0.5 * forces @ np.linalg.solve(covariance, forces) - 0.5 * forces @ forces
        return 0.5 * np.linalg.slogdet(covariance)[1] + fit

    exact = {frozenset(): 0.0}
    for number in range(1, 16):
        on = [k for k in range(4) if number >> k & 1]
        starts = (np.full(len(on), s) for s in (-2.0, 0.0))
        exact[frozenset(on)] = max(
            -optimize.minimize(minus_log, first, (on,), "Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).fun
            for first in starts
        )
    exact = {s: v for s, v in exact.items() if not any(v - exact[s - {k}] < 0.01 for k in s)}
    scores = {s: v - 3 * len(s) for s, v in exact.items()}
    best = max(scores.values())
    choices = supports.explore(given, relevance.select(given))
    found = {
        frozenset(np.flatnonzero(s).tolist()): v for s, v in zip(choices.scales, choices.log_evidences, strict=True)
    }
    assert set(found) == {s for s, v in scores.items() if v > best - np.log(100)}
    assert len(found) > 2
    for support, value in found.items():
        assert value == pytest.approx(exact[support], abs=1e-4)


@pytest.mark.parametrize("seed", [9, 11, 18])
def test_a_candidate_that_another_makes_superfluous_goes(seed):
    # The third is nearly the sum of the first two: exchanged for one of them it makes the other superfluous too.
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(300, 4))
    design[:, 2] = (design[:, 0] + design[:, 1]) / np.sqrt(2) + 0.25 * design[:, 2]
    given = least_squares(design, 0.3 * design[:, 0] + 0.3 * design[:, 1] + rng.normal(size=300))
    exact = {s: v - 3 * len(s) for s, v in exact_choices(given).items()}
    on = np.array([True, True, False, False])
    first = relevance.Selection(*relevance.maximize(given, on, np.ones(4)))
    choices = supports.explore(given, first)
    best = max(exact, key=lambda s: exact[s])
    assert frozenset(np.flatnonzero(choices.best.scales).tolist()) == best
    assert choices.best.log_evidence - 3 * len(best) == pytest.approx(exact[best], abs=1e-4)


def test_too_many_choices_are_told():
    rng = np.random.default_rng(0)
    given = problem(1000 * np.eye(30), np.sqrt(1000) * rng.normal(size=30))
    everything = supports.explore(given, relevance.select(given))
    part = supports.explore(given, relevance.select(given), most=1)
    assert everything.complete
    assert not part.complete
    assert len(part.probabilities) < len(everything.probabilities)
    assert not np.any(everything.best.scales)  # nothing but chance: nothing is kept
    assert supports.inclusion(everything).max() < 0.5


def test_a_group_with_two_maxima_has_the_larger_gain():
    # Small scales only cost what the first column cannot explain; the second one is worth it at a large scale.
    given = problem(np.diag([1000.0, 1.0]), [0.0, np.sqrt(19.0)], [0, 0])
    log = np.linspace(-12, 12, 4001)
    s2 = np.exp(2 * log)
    exact = np.max(0.5 * s2 * 19 / (1 + s2) - 0.5 * np.log1p(1000 * s2) - 0.5 * np.log1p(s2))
    assert exact > 2.5
    assert relevance.gains(given, relevance.Selection(0.0, np.zeros(1)))[0] == pytest.approx(exact, abs=1e-4)


def test_gains_at_fixed_scales_are_those_of_a_dense_gaussian():
    rng = np.random.default_rng(1)
    group = np.array([0, 0, 1, 2, 2, 2])
    design = rng.normal(size=(60, 6))
    forces = design[:, 0] + 0.4 * design[:, 3] + rng.normal(size=60)
    given = problem(design.T @ design, design.T @ forces, group)

    def exact(s):
        covariance = np.eye(60) + (design * np.asarray(s)[group] ** 2) @ design.T
        return -0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * forces @ np.linalg.solve(covariance, forces)

    for scales in ([0.7, 0.0, 0.0], [0.0, 0.0, 0.0], [0.7, 0.3, 0.0]):
        gains, own = relevance.gains_at_fixed_scales(given, np.array(scales))
        for k in range(3):
            if scales[k]:
                assert np.isnan(gains[k])
                continue
            values = [exact([*scales[:k], s, *scales[k + 1 :]]) - exact(scales) for s in np.geomspace(1e-4, 1e2, 400)]
            assert gains[k] == pytest.approx(max(values), abs=0.03)
            assert exact([*scales[:k], own[k], *scales[k + 1 :]]) - exact(scales) == pytest.approx(gains[k], abs=1e-8)


@pytest.fixture(scope="module")
def planted():
    return planted_library.planted(0, 40)


def test_planted_shapes_are_found(planted, tmp_path):
    data, shapes, truth = planted
    posterior = planted_library.fit(data, shapes, "rvm", "none", 0)
    kept, z, _ = planted_library.scored(posterior, truth, planted_library.chosen_library(40)[2])
    strong = np.abs(truth) > 4  # the weakest one, 0.5 % of the noise variance, needs more frames: see the study
    assert np.all(kept[strong])
    assert not np.any(kept & (truth == 0))
    assert np.sqrt(np.mean(z[kept[truth != 0]] ** 2)) < 2
    relevance_found = posterior["relevance"]
    gains = relevance_found["log_evidence_gain"].values
    assert np.all(gains[kept] >= 3)
    assert np.all(gains[~kept] < 3)
    # Shapes that are left out leave exactly nothing; draws keep one as often as it is probable.
    used = posterior["posterior"]["candidate_coefficient"].values != 0
    inclusion = relevance_found["inclusion"].values
    table = posterior["choices"].to_dataset()
    np.testing.assert_array_equal(used[0], table["keeps"].values[posterior["posterior"]["choice"].values[0]])
    np.testing.assert_allclose(used.mean(axis=(0, 1)), inclusion, atol=table.sizes["choice"] / used[..., 0].size)
    np.testing.assert_allclose(table["probability"].values @ table["keeps"].values, inclusion)
    np.testing.assert_array_equal(table["keeps"].values[0], kept)
    sparse = only_choice(load(save(posterior, tmp_path / "sparse.nc")))
    assert 0 < sparse["posterior"].sizes["draw"] < posterior["posterior"].sizes["draw"]
    np.testing.assert_array_equal(np.any(sparse["posterior"]["candidate_coefficient"].values, axis=(0, 1)), kept)
    assert sparse.attrs["choice"] == 0
    assert sparse.attrs["held_out_r2"] == posterior.attrs["held_out_r2"]
    assert "relevance" not in sparse.children
    other = only_choice(posterior, 1)
    used = np.any(other["posterior"]["candidate_coefficient"].values, axis=(0, 1))
    np.testing.assert_array_equal(used, table["keeps"].values[1])
    assert "held_out_r2" not in {**other.attrs, **other["posterior"].attrs}
    assert "predictive" not in other.children
    assert "held_out_r2" in posterior.attrs
    with pytest.raises(ValueError, match=r"no draw is of choice 1000: there are \d+, from 0 on"):
        only_choice(posterior, 1000)
    assert np.all(inclusion[strong] > 0.99)
    assert np.all(inclusion[~kept] < 0.5)
    assert np.mean(inclusion[truth == 0]) < 0.15
    assert 0.2 < posterior.attrs["held_out_r2"] < 0.4


@pytest.mark.filterwarnings("ignore:R-hat", "ignore:only", "ignore:.*divergent")
def test_horseshoe_is_sure_of_what_is_strong(planted, tmp_path):
    data, shapes, truth = planted
    posterior = planted_library.fit(data, shapes, "horseshoe", "none", 0)
    posterior = load(save(posterior, tmp_path / "horseshoe.nc"))
    probability = posterior["relevance"]["probability"].values
    strong = np.abs(truth) > 8
    assert np.all(probability[strong] > 0.99)
    assert np.max(probability[truth == 0]) < np.min(probability[strong])
    with pytest.raises(ValueError, match='method="rvm" chooses'):
        only_choice(posterior)
    kappa = posterior["posterior"]["kappa"]
    assert kappa.dims == ("chain", "draw", "candidate")
    np.testing.assert_allclose((kappa < 0.5).mean(("chain", "draw")), probability)


@pytest.mark.parametrize("z", [0.5, 3.5])
def test_horseshoe_of_one_candidate_agrees_with_quadrature(z):
    data = 500.0
    given = problem([[data]], [z * np.sqrt(data)])
    with double_precision():
        target = horseshoe.density(given)
        found = nuts(target, find_mode(target), Sampling(2, 500, 2000), key=jax.random.key(shifted(0)))
        sampled = np.asarray(horseshoe.scales(**found.values)).ravel()
    log = np.linspace(-16, 12, 141)
    half_cauchy = log - np.logaddexp(0, 2 * log)  # of the logarithm, at unit scale
    square = np.linspace(-4, 8, 61)
    slab = -2 * square - 2 * np.exp(-square)  # log of c^2 ~ InverseGamma(2, 2)
    joint = half_cauchy[:, None, None] + half_cauchy[None, :, None] + slab
    free = np.exp(2 * (log[:, None] + log))[..., None] / given.components  # tau_0 = n^-1/2
    s2 = np.exp(square) * free / (np.exp(square) + free)
    joint = joint - 0.5 * np.log1p(s2 * data) + 0.5 * z**2 * s2 * data / (1 + s2 * data)
    weight = np.exp(joint - joint.max())
    exact = np.sum(weight[s2 * data > 1]) / weight.sum()
    effective = 600  # of 4000 draws of a heavy-tailed target
    assert np.mean(sampled**2 * data > 1) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / effective))


def test_whole_terms_are_left_out():
    data = planted_library.liquid(40).isel(frame=slice(0, 20))
    kinds = np.where(np.arange(125) % 2, "B", "A")
    data = data.assign_coords(bead_type=("bead", kinds))
    pairs = bcg.Potential(*(bcg.Pair(a, b, systems.CUTOFF, knot_spacing=0.04) for a, b in ("AA", "AB", "BB")))
    only = bcg.Potential(bcg.Pair("A", "B", systems.CUTOFF, baseline=systems.LJ, learn=False))
    with pytest.warns(UserWarning, match="no pair term for A-A"):
        forces = systems.forces_of(only, data)
    noise = np.random.default_rng(shifted(0)).normal(0, forces.std(), forces.shape)
    noisy = data.assign(forces=(("frame", "bead", "xyz"), forces + noise))
    posterior = bcg.force_match(
        pairs, noisy, method="rvm", settings=Sampling(1, 1, 200), key=jax.random.key(shifted(0))
    )
    found = posterior["relevance"].to_dataset()
    assert found["kept"].values.tolist() == [False, True, False]
    assert posterior.attrs["calibration"] == "godambe"
    for name, inclusion in zip(("A-A", "B-B"), found["inclusion"].values[[0, 2]], strict=True):
        gone = np.all(posterior["posterior"][f"u_{name}"].values == 0, axis=-1)
        assert np.mean(gone) == pytest.approx(1 - inclusion, abs=0.02)
        assert inclusion < 0.2
    r = posterior["posterior"]["x_A-B"].values
    inside = (r > 0.33) & (r < 0.8)
    drawn = posterior["posterior"]["f_A-B"].values[0][:, inside]
    z = (drawn.mean(axis=0) - systems.true_force(systems.LJ, r[inside])) / drawn.std(axis=0)
    assert np.sqrt(np.mean(z**2)) < 1.5


def test_forces_that_are_noise_keep_nothing():
    data, shapes, _ = planted_library.planted(0, 40)
    noise = np.random.default_rng(shifted(5)).normal(0, 50, data["forces"].shape)
    with pytest.warns(UserWarning, match="no candidate adds enough"):
        posterior = planted_library.fit(data.assign(forces=(data["forces"].dims, noise)), shapes, "rvm", "none", 0)
    assert not np.any(posterior["relevance"]["kept"])
    sparse = only_choice(posterior)
    assert not np.any(sparse["posterior"]["coefficients"])
    assert sparse["posterior"].sizes["draw"] > 100
    assert abs(posterior.attrs["held_out_r2"]) < 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": {"A-A": {"bump": np.exp}}, "method": "laplace"}, "candidates of a sparse fit"),
        ({"kernels": {"A-A": {}}, "method": "rvm"}, "shapes of A-A are functions"),
        ({"kernels": {"A-A": {"bump": 3.0}}, "method": "rvm"}, "shapes of A-A are functions.*bump"),
        ({"kernels": {"A-A": {"log": lambda r: np.log(r - 0.5)}}, "method": "rvm"}, "'log' is not finite at"),
        ({"kernels": {"A-A": {"flat": lambda r: 0.0 * r}}, "method": "rvm"}, "A-A: flat: no force within"),
        ({"method": "ard"}, "method must be one of nuts, vi, laplace, rvm, horseshoe"),
    ],
)
def test_bad_input(planted, options, message):
    data, _, _ = planted
    statistics = _statistics(data)
    with pytest.raises(ValueError, match=message):
        bcg.force_match(planted_library.POTENTIAL, statistics, calibration="none", key=jax.random.key(0), **options)


_KEPT = {}


def _statistics(data):
    if "one" not in _KEPT:
        _KEPT["one"] = bcg.force_statistics(planted_library.POTENTIAL, data.isel(frame=slice(0, 4)), pilot=None)
    return _KEPT["one"]
