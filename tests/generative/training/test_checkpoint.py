"""`discover` on a small problem: it goes on where it stopped, refuses other arguments, and stops with what it has."""

import contextlib
import json
from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import pytest

from bayescg.atomistic import gaussian_mixture
from bayescg.generative import Training, discover, sample
from bayescg.generative.particles.smc import Particles
from bayescg.generative.training import training
from bayescg.generative.training.checkpoint import Checkpoint
from tests.generative.models import random_model
from tests.seeds import shifted
from tests.storage.kills import moments

QUICK = Training(
    discovery_steps=200, sharpening_steps=100, refinement_steps=60, rounds=1, batch=128, decoder="gaussian"
)
ARGUMENTS = {"latent_dim": 1, "budget": 100_000, "settings": QUICK}
TARGET = gaussian_mixture([[-2.0, 0.0], [2.0, 1.0]], [np.diag([0.3, 1.0]), np.diag([0.4, 0.5])], [0.7, 0.3])
KEY = jax.random.key(shifted(3))


@pytest.fixture(scope="module")
def whole():
    """What one uninterrupted run gives."""
    return discover(TARGET, **ARGUMENTS, key=KEY)


def test_two_wells_are_found(whole):
    """Both are drawn, in shares that weights make right; log Z is right; no evaluation more than allowed."""
    report = json.loads(whole.report)
    assert 0.5 * 100_000 < report["evaluations"] <= 100_000
    assert not report["interrupted"]
    assert abs(report["log_z_smc"]) < 4 * report["log_z_smc_se"] < 0.6
    assert report["information"][0] > 0.5
    right = {"right": lambda s: s["coordinates"].values[:, 0] > 0}
    tree = sample(whole, TARGET, draws=4096, observables=right, key=jax.random.key(shifted(0)))
    found = tree["estimates"]
    assert abs(float(found["log_z"])) < 4 * float(found["log_z_se"])
    assert abs(float(found["right"]) - 0.3) < 4 * float(found["right_se"]) < 0.12
    assert tree.attrs["ess_share"] > 0.3
    plain = np.mean(right["right"](tree["samples"].to_dataset()))
    assert 0.15 < plain < 0.45


def test_a_stopped_run_goes_on(whole, tmp_path, monkeypatch):
    """Interrupted in the refinement: a model with a warning; the next call goes on and gives what one run gives."""
    kept = ARGUMENTS | {"settings": replace(QUICK, checkpoint=tmp_path / "run")}
    real = training.progress
    monkeypatch.setattr(training, "progress", _interrupting(real))
    with pytest.warns(UserWarning, match=r"training was interrupted.*checkpoint="):
        part = discover(TARGET, **kept, key=KEY)
    monkeypatch.undo()
    assert json.loads(part.report)["interrupted"]
    again = discover(TARGET, **kept, key=KEY)
    assert eqx.tree_equal(*(eqx.filter(m, eqx.is_array) for m in (again, whole)))
    assert json.loads(again.report)["evaluations"] == json.loads(whole.report)["evaluations"]
    with pytest.raises(ValueError, match=r"(?s)run holds a run with other arguments.*another folder"):
        discover(TARGET, **{**kept, "budget": 90_000}, key=KEY)


def _interrupting(real):
    """Progress whose user presses Ctrl-C after twenty steps of the refinement."""

    @contextlib.contextmanager
    def progress(description, total):
        done = 0

        def advance(n=1):
            nonlocal done
            done += n
            if description.startswith("Refinement") and done >= 20:
                raise KeyboardInterrupt

        with real(description, total):
            yield advance

    return progress


def test_arguments_that_cannot_be_are_refused():
    for wrong, message in (
        ({"latent_dim": 3}, r"latent_dim is 3; .* target's 2 degrees of freedom"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"method": "vi"}, "method is 'vi'; it must be 'annealed' or 'reverse_kl'"),
        ({"budget": 10_000}, "budget is 10000 evaluations; nothing is learned from fewer than 20000"),
    ):
        with pytest.raises(ValueError, match=message):
            discover(TARGET, **{"latent_dim": 1, **wrong}, key=jax.random.key(0))
    for wrong, message in (
        ({"decoder": "flow"}, "decoder is 'flow'"),
        ({"batch": 0}, "batch is 0"),
        ({"rounds": -1}, "rounds is -1"),
        ({"sharpness": 0.0}, "sharpness is 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            Training(**wrong)


def test_what_is_kept_comes_back(tmp_path, monkeypatch):
    """Models and particles, to the last bit; without a folder nothing."""
    rng = np.random.default_rng(0)
    particles = Particles(rng.normal(size=(5, 2)), np.full(5, 0.2), 1.5, 0.1, 1234, 0.3, np.ones(2))
    samples, model = rng.normal(size=(7, 2)), random_model([False, True])
    nothing = Checkpoint(None, {"a": 1})
    nothing.keep_particles(particles, samples)
    assert nothing.keep("model", model) is model
    assert nothing.particles() is None
    assert nothing.model("model") is None
    store = Checkpoint(tmp_path / "a" / "b", {"a": 1})
    assert store.particles() is None
    assert store.model("model") is None
    with moments(tmp_path / "a", tmp_path / "copies", monkeypatch) as copies:
        store.keep_particles(particles, samples)
        store.keep("model", model)
    # Whenever it is killed, a part is there as a whole or not at all.
    there = []
    for copy in copies:
        store = Checkpoint(copy / "b", {"a": 1})
        found = store.particles(), store.model("model")
        there.append(sum(each is not None for each in found))
        assert found[0] is None or np.array_equal(found[0][1], samples)
    assert there == sorted(there)
    assert set(there) == {0, 1}
    store = Checkpoint(tmp_path / "a" / "b", {"a": 1})
    back, kept = store.particles()
    for ours, theirs in zip(back, particles, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (type(back.evaluations), type(back.log_z)) == (int, float)
    np.testing.assert_array_equal(kept, samples)
    assert eqx.tree_equal(*(eqx.filter(m, eqx.is_array) for m in (store.model("model"), model)))
    with pytest.raises(ValueError, match="other arguments"):
        Checkpoint(tmp_path / "a" / "b", {"a": 2})
    for name, read in (("particles", store.particles), ("model", lambda: store.model("model"))):
        path = tmp_path / "a" / "b" / f"{name}.npz"
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ValueError, match=rf"{name}\.npz is damaged"):
            read()
