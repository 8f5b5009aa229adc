"""Settings of `bayescg backmap`: from a file, and from options, which go first."""

import pytest

from bayescg.workflow.backmap import Plan, read_plan


def test_options_go_before_the_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("draws: 10\nrounds: 80\nunits: metal\nseed: 3\n")
    plan = read_plan(path, {"draws": 5, "by": "molecules", "seed": None})
    assert plan == Plan(draws=5, rounds=80, units="metal", seed=3, by="molecules")
    assert read_plan(None, {"draws": None}) == Plan()


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("draw: 10", {}, "settings.yaml, line 1, draw: unknown key 'draw'; did you mean 'draws'"),
        ("seed: 1\nrounds: 0", {}, "settings.yaml, line 2, rounds: rounds must be at least 1; got 0"),
        ("method: smk", {}, "method: one of smc, .* was expected, not 'smk'; did you mean 'smc'"),
        ("seed: 1", {"draws": 0}, "settings.yaml, draws: draws must be at least 1"),
        (None, {"draws": 0}, "bayescg backmap, draws: draws must be at least 1"),
    ],
)
def test_bad_settings(tmp_path, text, given, message):
    path = tmp_path / "settings.yaml" if text else None
    if path:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_plan(path, given)
