"""`LatentTransformer`: collective variables where scikit-learn expects a transformer."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bayescg.atomistic.target import MoleculeTarget, Target
from bayescg.generative.model.latent_model import LatentModel
from bayescg.generative.variables.encode import encode


class LatentTransformer:
    """The encoder as a transformer in scikit-learn's manner; scikit-learn itself is not needed.

    The model is learned already: `fit` only checks that data fit.

    Attributes:
        model: from `discover`.
        target: what it was made for; needed for positions.
    """

    def __init__(self, model: LatentModel, target: Target | None = None):
        """Wrap a model.

        Args:
            model: from `discover`.
            target: what it was made for; needed for positions.
        """
        self.model, self.target = model, target

    def fit(self, X, y=None) -> LatentTransformer:
        """Check that the data fit; nothing is learned.

        Args:
            X: as for `transform`.
            y: ignored.

        Returns:
            The transformer itself.

        Raises:
            ValueError: if shapes do not fit.
        """
        self.transform(X if hasattr(X, "universe") else np.asarray(X)[:1])
        self.n_features_in_ = int(np.prod(np.shape(X)[1:])) if not hasattr(X, "universe") else 3 * len(X.atoms)
        return self

    def transform(self, X) -> Float[np.ndarray, "frame latent"]:
        """Collective variables of configurations.

        Args:
            X: coordinates (frame, coordinate); with a molecule's target also positions [nm], (frame, atom, 3) or, as
                pipelines need them, (frame, 3 atoms); or an MDAnalysis universe or atom group.

        Returns:
            (frame, latent).

        Raises:
            ValueError: if shapes do not fit.
        """
        if not hasattr(X, "universe"):
            X = np.asarray(X, float)
            atoms = self.target.coordinates.n_atoms if isinstance(self.target, MoleculeTarget) else None
            if atoms is not None and X.ndim == 2 and X.shape[1] == 3 * atoms:
                X = X.reshape(len(X), atoms, 3)
        return encode(self.model, X, self.target)

    def fit_transform(self, X, y=None) -> Float[np.ndarray, "frame latent"]:
        """`fit` and `transform`.

        Args:
            X: as for `transform`.
            y: ignored.

        Returns:
            (frame, latent).

        Raises:
            ValueError: if shapes do not fit.
        """
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the collective variables.

        Args:
            input_features: ignored.

        Returns:
            z1, z2, ...
        """
        return np.asarray([f"z{k + 1}" for k in range(self.model.latents)], dtype=object)

    def get_params(self, deep: bool = True) -> dict:
        """Arguments of the constructor.

        Args:
            deep: ignored.

        Returns:
            Name -> value.
        """
        return {"model": self.model, "target": self.target}

    def set_params(self, **params) -> LatentTransformer:
        """Replace arguments of the constructor.

        Args:
            **params: `model` or `target`.

        Returns:
            The transformer itself.

        Raises:
            ValueError: if one is unknown.
        """
        unknown = set(params) - {"model", "target"}
        if unknown:
            raise ValueError(f"unknown parameters {sorted(unknown)}; there are model and target")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self):
        # Only scikit-learn (1.6 or newer, for its pipelines) asks: it is there then.
        from sklearn.utils import Tags, TargetTags, TransformerTags  # pyright: ignore[reportMissingImports]

        target = TargetTags(required=False)
        return Tags(estimator_type="transformer", target_tags=target, transformer_tags=TransformerTags())
