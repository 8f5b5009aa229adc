"""Bundled configurations: valid, and the explained one has every setting there is."""

import dataclasses
import re

import pytest
import yaml

from bayescg import workflow
from bayescg.workflow.schema.config import Settings
from bayescg.workflow.schema.observables import OBSERVABLES, Observable
from bayescg.workflow.schema.sections import NamedPotential
from bayescg.workflow.schema.terms import TERMS, PotentialChoice, TermItem


@pytest.mark.parametrize("name", ["example", "demo", "demo_fast"])
def test_bundled_configurations_are_valid(tmp_path, name):
    for file in ("topol.tpr", "traj.trr"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / file).touch()
        (tmp_path / "data" / file).touch()
    (tmp_path / "config.yaml").write_text(workflow.example(name))
    config = workflow.load(tmp_path / "config.yaml")
    for each in config.each.values() or [config]:
        assert each.potential.terms[0].name == "W-W"


SECTIONS = {
    name: PotentialChoice if name == "potential" else field.annotation
    for name, field in Settings.model_fields.items()
    if name not in ("observables", "potentials", "seed", "output")
}
INSTEAD = ("dataset", "file", "votca")


def everything():
    """The example with all settings that are commented out."""
    return yaml.safe_load(re.sub(r"^( *)# ( *(- )?\w+:)", r"\1\2", workflow.example(), flags=re.MULTILINE))


def test_every_setting_of_the_sections_is_in_the_example_and_none_else():
    example = everything()
    assert set(example) == set(Settings.model_fields)
    for name, model in SECTIONS.items():
        assert set(example[name]) == set(model.model_fields), name


@pytest.mark.parametrize(("models", "base"), [(TERMS, TermItem), (OBSERVABLES, Observable)])
def test_every_setting_of_the_items_is_in_the_example_and_none_else(models, base):
    items = everything()["potential"]["terms"] if base is TermItem else everything()["observables"]
    shared = {*base.model_fields, "baseline"}
    seen = {next(iter(item)): set(item) for item in items}
    assert set(seen) == set(models)
    for kind, model in models.items():
        assert set(model.model_fields) - shared <= seen[kind] <= set(model.model_fields), kind
    assert set(base.model_fields) <= set.union(*seen.values())


def test_the_example_has_every_baseline():
    baselines = TERMS["pair"].model_fields["baseline"].annotation.__args__[0]
    example = everything()["potential"]["terms"][0]["baseline"]
    assert set(example) == set(baselines.model_fields)
    for name, field in baselines.model_fields.items():
        assert set(example[name]) == set(field.annotation.__args__[0].model_fields)


def test_the_example_has_several_potentials_that_are_valid():
    example = everything()["potentials"]
    assert len(example) > 1
    for each in example.values():
        NamedPotential.model_validate(each)
    assert set.union(*map(set, example.values())) == {"terms", "inference"}


def test_settings_that_are_commented_out_show_their_default():
    example, written = everything(), yaml.safe_load(workflow.example())
    for name, model in SECTIONS.items():
        for key, value in example[name].items():
            if key not in (written[name] or {}) and key not in INSTEAD:
                found = model.model_fields[key].get_default(call_default_factory=True)
                assert value == (list(found) if isinstance(found, tuple) else found), f"{name}.{key}"
    for item in example["potential"]["terms"]:
        kind = next(iter(item))
        defaults = {field.name: field.default for field in dataclasses.fields(TERMS[kind].made)}
        for key in set(item) - {kind, "kernel", "baseline", "cutoff", "inner", "outer"}:
            assert item[key] == (None if defaults[key] is None else pytest.approx(defaults[key], rel=1e-3)), (
                f"{kind}.{key}"
            )


@pytest.mark.parametrize("model", [*SECTIONS.values(), *TERMS.values(), *OBSERVABLES.values()])
def test_every_setting_has_a_description(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []
