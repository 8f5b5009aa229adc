"""What comes in is checked, what comes out is complete, and doubtful draws are flagged."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg._runtime import double_precision
from bayescg.atomistic import OpenMMTarget
from bayescg.backmapping import Fibre, GaussianConditional, Tempering, sample
from tests.backmapping.gaussian_chain import Unnormalized, beads, chain, ensemble, exact
from tests.seeds import shifted
from tests.storage.kills import moments

FEW = Tempering(particles=20, replicates=2, moves=1)


@pytest.fixture(scope="module")
def small():
    model = chain(4, 2)
    x = beads(model)
    truth = exact(model, x)
    return model, x, GaussianConditional(model.fibre, truth.mean, truth.covariance)


@pytest.fixture(scope="module")
def perfect(small):
    """Draws of three frames of an ensemble of two draws."""
    model, x, conditional = small
    frames = np.stack([x, x, x])
    data = xr.Dataset(
        {
            "positions": (("draw", "frame", "bead", "xyz"), np.stack([frames, frames])),
            "posterior_draw": ("draw", [7, 3]),
        },
        {"frame": [10, 20, 30], "time": ("frame", [1.0, 2.0, 3.0]), "draw": [0, 1]},
        {"temperature": 300.0},
    )
    return sample(conditional, data, model.energy, draws=30, method="imh", key=jax.random.key(0))


def test_dimensions_are_carried_through(perfect, small):
    model, x, _ = small
    assert perfect["positions"].dims == ("draw", "frame", "atom", "xyz")
    assert perfect["positions"].shape == (60, 3, 4, 3)
    assert perfect["log_z"].dims == ("ensemble_draw", "frame")
    assert perfect["of_ensemble_draw"].values.tolist() == [0] * 30 + [1] * 30
    assert perfect["posterior_draw"].values.tolist() == [7, 3]
    assert perfect["frame"].values.tolist() == [10, 20, 30]
    assert perfect["time"].values.tolist() == [1, 2, 3]
    assert perfect["energy"].attrs["units"] == "kJ/mol"
    assert np.all(perfect["reliable"])
    np.testing.assert_allclose(np.exp(perfect["log_weight"]).sum("draw"), 2.0)
    np.testing.assert_allclose(perfect["log_z"], exact(model, x).log_z, atol=1e-10)
    np.testing.assert_allclose(model.fibre.matrix @ perfect["positions"].values[0, 0], x, atol=1e-12)
    kt = 8.31446261815324e-3 * 300
    with double_precision():
        energy = [[float(model.energy(jnp.asarray(p))) for p in row] for row in perfect["positions"].values[:2]]
    np.testing.assert_allclose(perfect["energy"].values[:2], kt * np.array(energy), rtol=1e-10)


def test_frames_are_kept_when_interrupted(small, monkeypatch):
    model, x, conditional = small
    from bayescg.backmapping import sampling

    real, calls = sampling.sample_frame, itertools.count()

    def interrupted(*arguments, **options):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(sampling, "sample_frame", interrupted)
    options = {"draws": 30, "method": "imh", "key": jax.random.key(0)}
    with pytest.warns(UserWarning, match="2 finished frames are kept"):
        data = sample(conditional, ensemble(x, x, x), model.energy, **options)
    assert data.sizes["frame"] == 2
    assert data.attrs["interrupted"] == 1

    def failing(*arguments, **options):
        if next(calls) == 4:
            raise ValueError("too strained")
        return real(*arguments, **options)

    monkeypatch.setattr(sampling, "sample_frame", failing)
    with pytest.warns(UserWarning, match="frame 1: too strained"):
        data = sample(conditional, ensemble(x, x, x), model.energy, **options)
    assert data["frame"].values.tolist() == [0, 2]


def test_a_checkpoint_goes_on_to_the_same_bits(small, tmp_path, monkeypatch):
    """From what a kill at any moment has left; frames that are there are not placed again."""
    from bayescg.backmapping import sampling

    model, x, conditional = small
    arguments = conditional, ensemble(x, x, x), model.energy
    options = {"draws": 30, "method": "imh", "key": jax.random.key(0)}
    whole, folder = sample(*arguments, **options), tmp_path / "run"
    with moments(folder, tmp_path / "copies", monkeypatch) as copies:
        sample(*arguments, **options, checkpoint=folder)
    placed, real = [], sampling.sample_frame
    monkeypatch.setattr(sampling, "sample_frame", lambda *a, **b: placed.append(1) or real(*a, **b))
    chosen = np.random.default_rng(shifted(0)).choice(len(copies), 2, replace=False)
    for copy in (folder, *(copies[k] for k in chosen)):
        placed.clear()
        missing = 3 - len(list(copy.glob("frame_*.npz")))
        xr.testing.assert_identical(sample(*arguments, **options, checkpoint=copy), whole)
        assert len(placed) == missing
    for other in ({"draws": 31}, {"key": jax.random.key(1)}):
        with pytest.raises(ValueError, match="run holds finished parts of another backmapping"):
            sample(*arguments, **{**options, **other}, checkpoint=folder)
    with pytest.raises(ValueError, match="of another backmapping"):
        sample(conditional, arguments[1], lambda y: 2 * model.energy(y), **options, checkpoint=folder)


def test_few_effective_samples_are_flagged(small):
    model, x, _ = small
    far = GaussianConditional(model.fibre, 1.0, 1e-4)
    with pytest.warns(UserWarning, match="1 of 1 CG configurations have fewer than 50 effective"):
        data = sample(far, ensemble(x), model.energy, draws=30, method="imh", key=jax.random.key(0))
    assert not data["reliable"].any()
    assert float(data["ess"][0]) < 5


def test_beads_that_cannot_be(small):
    model, x, conditional = small
    bonded = GaussianConditional(Fibre(model.fibre.matrix, bonds=[(0, 1), (1, 2), (2, 3)]), 0.0, 0.01)
    options = {"draws": 5, "key": jax.random.key(0)}
    near = np.array([[0.0, 0, 0], [0.2, 0, 0]])
    with pytest.raises(ValueError, match=r"frame 1: its beads 0 and 1 are 0.9 nm apart.*reach 0\.\d+ nm at most.*drop"):
        sample(bonded, ensemble(near, 4.5 * near, near), model.energy, **options)
    with pytest.raises(ValueError, match="look like Angstrom: divide them by ten"):
        sample(bonded, ensemble(10 * near), model.energy, **options)
    with pytest.raises(ValueError, match=r"has 3 beads .* has 2"):
        sample(conditional, ensemble(np.zeros((3, 3))), model.energy, **options)
    with pytest.raises(ValueError, match="bead 1 in frame 0 is not finite"):
        sample(conditional, ensemble(np.array([[0, 0, 0], [np.nan, 0, 0]])), model.energy, **options)
    with pytest.raises(ValueError, match="with `positions`"):
        sample(conditional, xr.Dataset(), model.energy, **options)
    with pytest.raises(ValueError, match="dimension 'site'"):
        sample(conditional, ensemble(x).expand_dims("site"), model.energy, **options)


def test_targets_and_methods_that_do_not_fit(small):
    model, x, conditional = small
    options = {"draws": 5, "key": jax.random.key(0), "tempering": FEW}
    data = ensemble(x)
    with pytest.raises(ValueError, match="target is str"):
        sample(conditional, data, "amber", **options)
    with pytest.raises(ValueError, match="method='mcmc'"):
        sample(conditional, data, model.energy, method="mcmc", **options)
    with pytest.raises(ValueError, match="at least one"):
        sample(conditional, data, model.energy, **{**options, "draws": 0})
    with pytest.raises(ValueError, match="not normalized: use 'smc'"):
        sample(Unnormalized(conditional, model.fibre), data, model.energy, method="imh", **options)
    with pytest.raises(ValueError, match="particles of 20 or more"):
        Tempering(particles=3)
    with pytest.raises(ValueError, match="finite energy"):
        sample(conditional, data, lambda positions: jnp.inf * jnp.sum(positions**2), method="imh", **options)
    molecule = _peroxide()
    larger = chain(6, 2)
    with pytest.raises(ValueError, match="target has 4 atoms and the map 6"):
        sample(GaussianConditional(larger.fibre), ensemble(beads(larger)), molecule, **options)
    with pytest.raises(ValueError, match="of 350 K and the target of 300 K"):
        sample(conditional, data.assign_attrs(temperature=350.0), molecule, **options)
    with pytest.raises(ValueError, match="ForceField has no temperature"):
        sample(conditional, data, molecule.force_field, **options)


def _peroxide() -> OpenMMTarget:
    """Four atoms in a row, the smallest molecule with a torsion."""
    openmm = pytest.importorskip("openmm")
    from openmm import app

    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("HOOH", topology.addChain())
    atoms = [topology.addAtom(f"{e}{k}", app.Element.getBySymbol(e), residue) for k, e in enumerate("HOOH")]
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for _ in range(4):
        system.addParticle(1.0)
    for k in range(3):
        bonds.addBond(k, k + 1, 0.1, 1e5)
        topology.addBond(atoms[k], atoms[k + 1])
    for k in range(2):
        angles.addAngle(k, k + 1, k + 2, 1.8, 300.0)
    for force in (bonds, angles):
        system.addForce(force)
    positions = [[0.03, 0.1, 0.0], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.13, 0.05, 0.08]]
    return OpenMMTarget(system, topology, positions, 300.0)


def test_gaussian_conditionals_that_cannot_be(small):
    fibre = small[0].fibre
    with pytest.raises(ValueError, match="6 free coordinates"):
        GaussianConditional(fibre, np.zeros(5))
    with pytest.raises(ValueError, match="not positive definite"):
        GaussianConditional(fibre, 0.0, -1.0)


def test_atoms_in_vacuum_have_no_box(small):
    model, x, conditional = small
    data = xr.Dataset(
        {"positions": (("frame", "bead", "xyz"), x[None]), "box": (("frame", "vector", "xyz"), 99 * np.eye(3)[None])},
        attrs={"temperature": 300.0, "boundary": "open"},
    )
    placed = sample(conditional, data, model.energy, draws=5, method="gp", key=jax.random.key(0))
    assert "box" not in placed
    assert placed.attrs["boundary"] == "open"
