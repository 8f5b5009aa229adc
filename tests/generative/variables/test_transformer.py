"""Collective variables as a transformer of scikit-learn's kind."""

import numpy as np
import pytest

from bayescg.generative import encode
from bayescg.generative.variables.transformer import LatentTransformer
from tests.generative.alanine import alanine, encoded_coordinates, shaken


@pytest.fixture(scope="module")
def molecule():
    return alanine(2)


def test_transformer(molecule):
    model, target, x = molecule
    frames = np.stack([shaken(x) for _ in range(5)])
    coordinates = np.stack([encoded_coordinates(target, frame) for frame in frames])
    transformer = LatentTransformer(model, target)
    z = transformer.fit_transform(frames)
    np.testing.assert_array_equal(z, encode(model, frames, target))
    # Rows of numbers, as pipelines have them: positions or coordinates, told apart by their number.
    np.testing.assert_array_equal(transformer.transform(frames.reshape(5, -1)), z)
    np.testing.assert_allclose(transformer.transform(coordinates), z, atol=1e-6)
    np.testing.assert_allclose(LatentTransformer(model).fit(coordinates).transform(coordinates), z, atol=1e-6)
    assert transformer.n_features_in_ == 66
    assert transformer.get_feature_names_out().tolist() == ["z1", "z2"]
    assert transformer.get_params() == {"model": model, "target": target}
    assert transformer.set_params(target=None).target is None
    with pytest.raises(ValueError, match="unknown parameters"):
        transformer.set_params(depth=3)
    with pytest.raises(ValueError, match="positions need"):
        LatentTransformer(model).fit(frames)


def test_transformer_in_a_pipeline(molecule):
    pytest.importorskip("sklearn", reason="needs scikit-learn, which the library itself does not")
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model, target, x = molecule
    rows = np.stack([shaken(x) for _ in range(20)]).reshape(20, -1)
    pipeline = make_pipeline(LatentTransformer(model, target), StandardScaler())
    np.testing.assert_allclose(pipeline.fit_transform(rows).std(axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(clone(pipeline[0], safe=False).transform(rows), pipeline[0].transform(rows))
    assert pipeline.get_feature_names_out().tolist() == ["z1", "z2"]


@pytest.mark.parametrize("name", ["run.trr", "run.xyz", "run.lammpsdump"])
def test_a_molecule_without_a_box_is_encoded(molecule, name, tmp_path):
    """Files of a molecule in vacuum, and the bounds of an open dump, which are no box."""
    import MDAnalysis

    model, target, x = molecule
    frames = np.stack([shaken(x) for _ in range(3)])
    memory = MDAnalysis.Universe.empty(len(x), trajectory=True)
    memory.add_TopologyAttr("names", ["C"] * len(x))
    memory.load_new(10 * frames)
    path = tmp_path / name
    if name.endswith("dump"):
        text = ""
        for step, frame in enumerate(10 * frames):
            ends = "".join(f"{a:.8g} {b:.8g}\n" for a, b in zip(frame.min(axis=0), frame.max(axis=0), strict=True))
            rows = "".join(f"{k} 1 {a:.8g} {b:.8g} {c:.8g}\n" for k, (a, b, c) in enumerate(frame, 1))
            text += f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(x)}\nITEM: BOX BOUNDS ss ss ss\n{ends}"
            text += f"ITEM: ATOMS id type x y z\n{rows}"
        path.write_text(text)
        universe = memory.load_new(str(path), format="LAMMPSDUMP", dt=1.0)
    else:
        memory.atoms.write(str(path), frames="all")
        universe = memory.load_new(str(path))
        assert universe.trajectory.ts.dimensions is None
    np.testing.assert_allclose(encode(model, universe, target), encode(model, frames, target), atol=1e-3)
