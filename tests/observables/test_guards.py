"""What the guard says of draws, where it puts further references, and what becomes of draws that still fail."""

import jax
import numpy as np
import pytest

from bayescg import observables as obs
from bayescg.observables import guards, propagation, references, reweighting
from tests.seeds import shifted

from .gaussian import KT, SIZE, ensemble, first_moment, means, posterior, rows_of

NONE = obs.Guard(references=0, simulations=0)
KEY = jax.random.key(0)


def propagate(rows, reference, observable=first_moment, guard=NONE):
    return obs.propagate(posterior(rows), reference, observable, draws=len(rows), guard=guard, key=KEY)


def test_time_correlation_counts():
    rng = np.random.default_rng(shifted(5))
    rho, length = 0.8, 20000
    noise = rng.normal(size=(3, length))
    series = np.zeros((3, length))
    for t in range(1, length):
        series[:, t] = rho * series[:, t - 1] + noise[:, t]
    np.testing.assert_allclose(guards.inefficiency(series), (1 + rho) / (1 - rho), rtol=0.15)
    np.testing.assert_allclose(guards.inefficiency(noise), 1.0, atol=0.1)
    np.testing.assert_array_equal(guards.inefficiency(np.zeros((2, 50))), 1.0)


def test_draws_beyond_the_reference_are_marked_and_warned_of():
    rng = np.random.default_rng(shifted(9))
    rows = 0.1 * rng.normal(size=(20, SIZE))
    rows[:3] += 4.0
    with pytest.warns(UserWarning, match="3 of 20 draws fail the guard"):
        array = propagate(rows, ensemble(np.zeros(SIZE), 400, rng))
    marked = array["source"].values == "unreliable"
    np.testing.assert_array_equal(array["posterior_draw"].values[marked], [0, 1, 2])
    assert np.isnan(array["linear_response"].values[marked]).all()
    assert (array["ess"].values[marked] < 20).all()


def test_a_reference_without_overlap_is_refused():
    rng = np.random.default_rng(shifted(10))
    rows = 4.0 + 0.1 * rng.normal(size=(20, SIZE))
    with pytest.raises(ValueError, match="does not represent this posterior: the weights of 20 of 20 draws"):
        propagate(rows, ensemble(np.zeros(SIZE), 400, rng))


def test_references_that_share_nothing_are_refused():
    rng = np.random.default_rng(shifted(11))
    runs = [ensemble(center, 200, rng) for center in (np.zeros(SIZE), np.full(SIZE, 4.0))]
    with pytest.raises(ValueError, match="references have no overlap: they fall into 2 groups"):
        propagate(np.zeros((5, SIZE)), runs)
    # A third one between them connects the two.
    bridge = [ensemble(np.full(SIZE, shift), 200, rng) for shift in (1.0, 2.0, 3.0)]
    propagate(0.01 * rng.normal(size=(5, SIZE)), [*runs, *bridge])


def test_the_next_reference_goes_where_draws_fail():
    rng = np.random.default_rng(shifted(12))
    cloud = np.array([1.5] + [0.0] * (SIZE - 1)) + 0.2 * rng.normal(size=(20, SIZE))
    rows = np.concatenate([0.1 * rng.normal(size=(20, SIZE)), cloud])
    gathered = references.gather(ensemble(np.zeros(SIZE), 300, rng), posterior(rows))
    mixed = reweighting.mixture(gathered)
    verdict = guards.judge(gathered, mixed, rows, obs.Guard(ess=100))
    failing = ~verdict.passed
    assert failing[20:].sum() > 15
    target, start = guards.next_reference(gathered, mixed, rows, verdict)
    assert start == 0
    np.testing.assert_allclose(target, rows[failing].mean(0), atol=0.15)
    far = rows.copy()
    far[20:, 0] += 10.0
    verdict = guards.judge(gathered, mixed, far, obs.Guard(ess=100))
    target, _ = guards.next_reference(gathered, mixed, far, verdict)
    assert np.linalg.norm(target) == pytest.approx(2.0, rel=0.2)


def test_references_are_added_until_draws_pass(monkeypatch):
    rng = np.random.default_rng(shifted(13))
    rows = np.zeros((30, SIZE))
    rows[:, 0] = np.where(np.arange(30) < 15, -2.0, 2.0)
    rows += 0.1 * rng.normal(size=rows.shape)
    asked = []

    def simulate_more(references, coefficients, nearest, posterior, *, key):
        asked.append(coefficients)
        return ensemble(coefficients, 500, rng)

    monkeypatch.setattr(propagation, "simulate_more", simulate_more)
    reference = ensemble(np.zeros(SIZE), 500, rng)
    array = propagate(rows, reference, guard=obs.Guard(references=4, simulations=0))
    assert set(array["source"].values) == {"reweighted"}
    assert array.attrs["n_references"] == 1 + len(asked)
    assert {round(float(a[0, 0])) for a in asked} == {-2, 2}
    error = 1 / np.sqrt(array["ess"].values)
    assert np.sqrt(np.mean(((means(array) + rows_of(array, rows)) / error[:, None]) ** 2)) < 1.5
    kept = obs.add_references(
        posterior(rows), reference, draws=30, guard=obs.Guard(references=4, simulations=0), key=KEY
    )
    asked.clear()
    again = propagate(rows, kept, guard=NONE)
    assert not asked
    assert set(again["source"].values) == {"reweighted"}


def test_draws_that_still_fail_are_simulated(monkeypatch):
    rng = np.random.default_rng(shifted(14))
    rows = 0.1 * rng.normal(size=(20, SIZE))
    rows[4] += 3.0
    rows[11] -= 3.0

    def simulate_more(references, coefficients, nearest, posterior, *, key):
        result = ensemble(coefficients, 500, rng)
        return result.assign_coords(posterior_draw=("draw", np.arange(len(coefficients))))

    monkeypatch.setattr(propagation, "simulate_more", simulate_more)
    reference = ensemble(np.zeros(SIZE), 500, rng)
    array = propagate(rows, reference, guard=obs.Guard(references=0, simulations=5))
    np.testing.assert_array_equal(np.flatnonzero(array["source"] == "simulated"), [4, 11])
    np.testing.assert_allclose(means(array), -rows_of(array, rows), atol=0.3)
    np.testing.assert_allclose(array["block_weight"].values[[4, 11]], 0.1)
    far = 3.0 + 0.1 * rng.normal(size=(20, SIZE))
    everything = propagate(far, reference, guard=obs.Guard(references=0, simulations=20))
    assert set(everything["source"].values) == {"simulated"}
    assert np.isnan(everything.attrs["linear_response"])
    np.testing.assert_allclose(means(everything), -far, atol=0.3)
    energy = propagate(rows, reference, obs.potential_energy, obs.Guard(references=0, simulations=5))
    np.testing.assert_allclose(means(energy)[4] / KT, SIZE / 2 - 0.5 * (rows[4] ** 2).sum(), atol=1.0)
    assert np.isfinite(obs.summarize(array)["sd"]).all()


def test_interrupts_leave_what_there_is(monkeypatch):
    rng = np.random.default_rng(shifted(15))
    rows = 0.1 * rng.normal(size=(20, SIZE))
    rows[0] += 4.0

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(propagation, "simulate_more", interrupted)
    with (
        pytest.warns(UserWarning, match="going on without further references"),
        pytest.warns(UserWarning, match="going on without simulating draws"),
        pytest.warns(UserWarning, match="1 of 20 draws fail the guard"),
    ):
        array = propagate(rows, ensemble(np.zeros(SIZE), 400, rng), guard=obs.Guard())
    assert (array["source"] == "unreliable").sum() == 1


@pytest.mark.parametrize("settings", [{"ess": 0}, {"pareto_k": 1.5}, {"references": -1}, {"simulations": -1}])
def test_bad_guards(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        obs.Guard(**settings)
