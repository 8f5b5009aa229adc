"""Every kind of result comes back from its file as it was; what is damaged, foreign or old is refused in a sentence."""

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr

import bayescg as bcg
from bayescg import backmapping, surrogates
from bayescg._records import read_record, write_record
from bayescg.data import from_arrays
from bayescg.generative import Particles, sample
from bayescg.inference.statistics.asked import Pilot
from bayescg.posterior import from_coefficients
from tests.backmapping import planted
from tests.generative.models import random_model
from tests.simulation.systems import liquid

KEY = jax.random.key(0)
POTENTIAL = bcg.Potential(bcg.Pair("A", "A", cutoff=0.6, knot_spacing=0.06))


def trajectory(frames=6) -> xr.Dataset:
    """A few beads with forces."""
    rng = np.random.default_rng(0)
    positions, forces = rng.uniform(0, 2, (frames, 20, 3)), rng.normal(size=(frames, 20, 3))
    return from_arrays(positions, [2.0] * 3, "A", temperature=300.0, mass=[18.0] * 20, forces=forces)


def same_arrays(a, b) -> None:
    """All leaves of two pytrees are equal, to the last bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


def back(result, folder):
    """Through a file."""
    return bcg.load(bcg.save(result, folder / "result"))


def test_trajectories(tmp_path):
    cg = trajectory()
    xr.testing.assert_identical(back(cg, tmp_path), cg)


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(1)
    return from_coefficients(POTENTIAL, rng.normal(size=(3, POTENTIAL.n_basis)), temperature=300.0)


def test_posteriors(posterior, tmp_path):
    again = back(posterior, tmp_path)
    assert again.identical(posterior)
    assert bcg.posterior.potential_of(again) == POTENTIAL


@pytest.mark.filterwarnings("ignore:.*neighboring blocks correlate")
def test_ensembles_and_observables(tmp_path):
    wall = bcg.Potential(bcg.Pair("A", "A", cutoff=0.34, baseline=bcg.WCA(0.3, 1.0), learn=False))
    start = from_coefficients(wall, np.zeros((2, 0)), temperature=300.0)
    dynamics = bcg.Langevin(equilibration=0.02, interval=0.02)
    ensemble = bcg.simulate(start, liquid(27, 10.0), draws=2, time=0.2, dynamics=dynamics, engine="jax", key=KEY)
    xr.testing.assert_identical(back(ensemble, tmp_path), ensemble)
    rdf = bcg.observables.rdf(ensemble, "A", "A", cutoff=0.6)
    xr.testing.assert_identical(back(rdf, tmp_path), rdf)
    summary = bcg.observables.summarize(rdf)
    xr.testing.assert_identical(back(summary, tmp_path), summary)


def test_statistics_and_pilots(tmp_path):
    cg, pilot = trajectory(), Pilot(POTENTIAL, tuple(np.linspace(-1, 1, POTENTIAL.n_basis).tolist()), 0.4)
    statistics = bcg.force_statistics(POTENTIAL, cg, pilot=pilot)
    again = back(statistics, tmp_path)
    assert (again.potential, again.pilot, again.levels) == (POTENTIAL, pilot, statistics.levels)
    same_arrays((again.total(), again.scores), (statistics.total(), statistics.scores))
    assert back(pilot, tmp_path) == pilot
    assert back(POTENTIAL, tmp_path) == POTENTIAL


def test_generative_results(tmp_path):
    model = random_model([False, True]).with_report({"evaluations": 7})
    again = back(model, tmp_path)
    same_arrays(eqx.filter(again, eqx.is_array), eqx.filter(model, eqx.is_array))
    assert (again.settings, again.report) == (model.settings, model.report)
    rng = np.random.default_rng(0)
    particles = Particles(rng.normal(size=(5, 2)), np.full(5, 0.2), 1.5, 0.1, 1234, 0.3, np.ones(2))
    same_arrays(back(particles, tmp_path), particles)
    target = bcg.atomistic.gaussian_mixture([[0.0, 0.0]], [np.eye(2)], [1.0])
    with pytest.warns(UserWarning, match="Pareto k"):
        tree = sample(random_model([False, False]), target, draws=512, key=KEY)
    assert back(tree, tmp_path).identical(tree)


@pytest.fixture(scope="module")
def conditional():
    molecule = planted.universe(planted.chain(80, 0).positions, [(0, 1), (1, 2), (2, 3), (3, 4)])
    return molecule, backmapping.fit_conditional(molecule, planted.kept(molecule, "index 0 1 2"), key=KEY)


def test_conditionals(conditional, tmp_path):
    """Draws and densities of the conditional that comes back are the same."""
    molecule, fitted = conditional
    again = back(fitted, tmp_path)
    assert type(again) is type(fitted)
    same_arrays(again, fitted)
    beads = molecule.atoms.positions[:3] / 10
    one, two = (each.guide(beads).sample(key=KEY) for each in (fitted, again))
    np.testing.assert_array_equal(one, two)
    assert fitted.guide(beads).log_density(one) == again.guide(beads).log_density(two)


def test_a_conditional_of_your_own_is_refused(conditional, tmp_path):
    class Own(backmapping.Conditional):
        fibre: backmapping.Fibre

        def guide(self, beads):
            raise AssertionError(beads)

    with pytest.raises(ValueError, match=r"Own cannot be kept: only conditionals of bayescg\.backmapping"):
        bcg.save(Own(conditional[1].fibre), tmp_path / "own.npz")


@pytest.mark.filterwarnings("ignore:R-hat", "ignore:only", "ignore:.*draws are too few")
def test_surrogates(tmp_path):
    x = np.linspace(0.1, 1.0, 8)
    priors = {"noise": dist.LogNormal(-2.0, 0.5)}
    model = surrogates.PhysicsGuidedGP(surrogates.zero(), priors=priors)
    tree = surrogates.fit(model, (x, np.sin(3 * x)), settings=bcg.Sampling(1, 20, 20), key=KEY)
    again = back(tree, tmp_path)
    assert again.identical(tree)
    curves = [surrogates.predict(each, x, draws=5, key=KEY) for each in (tree, again)]
    xr.testing.assert_identical(*curves)
    curve = curves[0]
    xr.testing.assert_identical(back(curve, tmp_path), curve)


@pytest.mark.filterwarnings("ignore:.*Pareto k", "ignore:.*draws are too few", "ignore:the best level is explained")
@pytest.mark.parametrize("link", ["constant", "nonlinear"])
def test_levels_of_fidelity(tmp_path, link):
    x = np.linspace(0.0, 1.0, 8)
    levels = {"cheap": (x, np.sin(3 * x)), "best": (x[::2], np.sin(3 * x[::2]) + x[::2], np.full(4, 0.1))}
    tree = surrogates.multi_fidelity(levels, link=link, method="laplace", settings=bcg.Sampling(1, 1, 40), key=KEY)
    again = back(tree, tmp_path)
    assert again.identical(tree)
    curves = [surrogates.predict_levels(each, x, draws=5, key=KEY) for each in (tree, again)]
    xr.testing.assert_identical(*curves)
    xr.testing.assert_identical(back(curves[0], tmp_path), curves[0])


def test_what_is_no_result_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a list is no result of bayescg"):
        bcg.save([1, 2], tmp_path / "list")
    with pytest.raises(FileNotFoundError, match="no such file"):
        bcg.load(tmp_path / "nowhere.nc")
    with pytest.raises(ValueError, match="is no file"):
        bcg.load(tmp_path)
    for content in (b"", b"hello", b"\x89HDF\r\n\x1a\nrest", b"PK\x03\x04rest"):
        (tmp_path / "wrong").write_bytes(content)
        with pytest.raises(ValueError, match=r"no result of bayescg|damaged"):
            bcg.load(tmp_path / "wrong")


def test_old_files_are_refused_in_a_sentence(posterior, tmp_path):
    old = trajectory().assign_attrs(bayescg_version="0.0.9")
    del old.attrs["bayescg_format"]
    with pytest.raises(ValueError, match=r"written by bayescg 0\.0\.9 in layout 1; this version reads .*make it again"):
        back(old, tmp_path)
    for kind, error in (("latent model", "format 99"), ("conditional", "format 99"), ("melody", "'melody'")):
        path = write_record(tmp_path / "old.npz", kind, 99, {})
        with pytest.raises(ValueError, match=error):
            bcg.load(path)
    tree = posterior.copy()
    tree.attrs["bayescg_format"] = 1
    with pytest.raises(ValueError, match="in layout 1"):
        back(tree, tmp_path)


def test_any_flipped_bit_of_a_record_is_damage_or_harmless(tmp_path):
    """Never a crash, never other numbers."""
    model = random_model([False])
    path = bcg.save(model, tmp_path / "model.npz")
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 60, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            again = bcg.load(path)
        except ValueError:
            continue
        same_arrays(eqx.filter(again, eqx.is_array), eqx.filter(model, eqx.is_array))


def test_a_record_holds_known_classes_only(tmp_path):
    path = write_record(tmp_path / "pilot.npz", "thing", 1, Pilot(POTENTIAL, (1.0,), 0.3))
    with pytest.raises(ValueError, match="damaged"):
        read_record(path, "thing", 1)
    with pytest.raises(ValueError, match="cannot be kept"):
        write_record(path, "thing", 1, {"f": np.sin})
