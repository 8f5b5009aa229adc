"""What an array is where NumPy's and JAX's are taken alike."""

from __future__ import annotations

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
"""An array of either library, as in `Float[AnyArray, "atom 3"]`."""
