"""Seeds of statistical tests move together, and never onto each other."""

from tests.seeds import shifted


def test_seeds_move_with_the_environment(monkeypatch):
    monkeypatch.delenv("BAYESCG_SEED_SHIFT", raising=False)
    assert [shifted(seed) for seed in range(3)] == [0, 1, 2]
    monkeypatch.setenv("BAYESCG_SEED_SHIFT", "2")
    assert not {shifted(seed) for seed in range(1000)} & set(range(1000))
