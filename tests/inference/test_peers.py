"""Forces beside those of csg_fmatch (VOTCA 2022.1) on the same trajectories."""

import jax
import jax.numpy as jnp
import MDAnalysis as mda
import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid
from scipy.interpolate import CubicSpline

import bayescg as bcg
from bayescg.geometry import descriptors as geometry
from bayescg.inference import Sampling
from bayescg.inference.linear.scores import residual_variance
from bayescg.inference.statistics import one_pass
from bayescg.posterior import curves, mean_coefficients

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore:Pareto k")]
PLAN = Sampling(chains=1, warmup=1, draws=500)
TERMS = {"A-A": "A-A", "A-B": "A-B", "B-B": "B-B", "bond_A-B": "bond", "angle_A-B-A": "angle"}


def universe(folder, tmp):
    """A copy: MDAnalysis writes index files beside a trajectory."""
    for name in ("topol.tpr", "traj.trr"):
        (tmp / name).write_bytes((folder / name).read_bytes())
    return mda.Universe(str(tmp / "topol.tpr"), str(tmp / "traj.trr"))


def test_water(shared, tmp_path):
    folder = shared / "spce"
    atoms = universe(folder, tmp_path)
    mapping = bcg.Mapping.from_votca(folder / "votca" / "mapping.xml", atoms)
    cg = bcg.coarse_grain(atoms, mapping, temperature=300.0)
    potential = bcg.Potential(bcg.Pair("CG", "CG", cutoff=0.9))
    statistics = bcg.force_statistics(potential, cg, pilot=bcg.fit_pilot(potential, cg))
    posterior = bcg.force_match(potential, statistics, method="laplace", settings=PLAN, key=jax.random.key(0))
    r, theirs = np.loadtxt(folder / "votca" / "CG-CG.force.200frames", usecols=(0, 1)).T
    ours = curves(potential, "CG-CG", mean_coefficients(posterior), r)[1]
    inner = (r > 0.27) & (r < 0.85)
    assert np.all(np.abs(ours - theirs)[inner] < 2 + 0.015 * np.abs(theirs[inner]))
    # Residual of their curve on the same sums: integrated, continued with constant force below its first entry (where
    # beads still are within a knot), and put into our basis.
    fine = np.linspace(r[0], r[-1], 4000)
    energy = -cumulative_trapezoid(CubicSpline(r, theirs)(fine), fine, initial=0)
    energy -= energy[-1]
    knots = potential.terms[0].spline
    values = np.interp(knots.sites, fine, energy) + theirs[0] * np.clip(r[0] - knots.sites, 0, None)
    w = knots.interpolate(values)[: potential.n_basis]
    their_residual = residual_variance(statistics.total(), w)[0]
    our_residual = residual_variance(statistics.total(), mean_coefficients(posterior))[0]
    assert abs(our_residual / their_residual - 1) < 0.003


def votca_angle(tuples, box):
    """The angle with the gradient that csg_fmatch 2022.1 takes (docs/decisions/0005-votca-angle-gradient.md)."""
    v1 = geometry.minimum_image(tuples[..., 0, :] - tuples[..., 1, :], box)
    v2 = geometry.minimum_image(tuples[..., 2, :] - tuples[..., 1, :], box)
    n1, n2 = (jnp.linalg.norm(v, axis=-1, keepdims=True) for v in (v1, v2))
    dot = jnp.sum(v1 * v2, -1, keepdims=True)
    inverse_sine = 1 / jnp.sqrt(1 - dot**2 / (n1**2 * n2**2))
    first = inverse_sine * (-v2 / (n1 * n2) + dot * v1 / (n1**2 * n2**2))
    middle = inverse_sine * ((v1 + v2) / (n1 * n2) - dot * (n2**2 * v1 + n1**2 * v2) / (n1**3 * n2**3))
    last = inverse_sine * (-v1 / (n1 * n2)) + dot * v2 / (n1 * n2**3)
    return EXACT_ANGLE(tuples, box)[0], jnp.stack([first, middle, last], -2)


EXACT_ANGLE = geometry.angle


@pytest.fixture(scope="module")
def hexane(shared, tmp_path_factory):
    folder = shared / "hexane"
    atoms = universe(folder, tmp_path_factory.mktemp("hexane"))
    mapping = bcg.Mapping.from_votca(folder / "votca" / "mapping.xml", atoms)
    return folder / "votca", bcg.coarse_grain(atoms, mapping, temperature=300.0)


def hexane_shares(hexane, spacing=np.pi / 90):
    """Share of sampled distances where our mean force is within 3 combined sd of csg_fmatch's, by term."""
    folder, cg = hexane
    potential = bcg.Potential(
        *(bcg.Pair(a, b, 1.2, knot_spacing=0.015) for a, b in ("AA", "AB", "BB")),
        bcg.Bond("A", "B"),
        bcg.Angle("A", "B", "A", knot_spacing=spacing),
        exclude_bonds=2,
    )
    statistics = bcg.force_statistics(potential, cg, pilot=bcg.fit_pilot(potential, cg))
    posterior = bcg.force_match(potential, statistics, method="laplace", settings=PLAN, key=jax.random.key(0))
    shares = {}
    for name, file in TERMS.items():
        x, theirs, their_sd = np.loadtxt(folder / f"{file}.force", usecols=(0, 1, 2)).T
        sampled = (x >= statistics.ranges[name][0]) & (x <= statistics.ranges[name][1])
        draws = posterior["posterior"]["coefficients"].values
        ours = curves(statistics.potential, name, draws, x[sampled])[1]
        sd = np.sqrt(ours.var(axis=(0, 1)) + their_sd[sampled] ** 2)
        shares[name] = np.mean(np.abs(ours.mean(axis=(0, 1)) - theirs[sampled]) < 3 * sd)
    return shares


def test_hexane_pairs(hexane):
    shares = hexane_shares(hexane)
    assert all(shares[name] >= 0.95 for name in ("A-A", "A-B", "B-B")), shares


def test_hexane_with_csg_fmatch_s_angle_gradient(hexane, monkeypatch):
    # A spacing of its own, so that nothing compiled with the exact gradient is used again.
    monkeypatch.setattr(geometry, "angle", votca_angle)
    monkeypatch.setattr(one_pass, "_loops_can_be_compiled", lambda: False)  # they have their own angle
    shares = hexane_shares(hexane, spacing=np.pi / 91)
    assert all(share >= 0.95 for share in shares.values()), shares
