"""Facts about dependencies that results rest on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 16_385), (np.float32, 32_769)])
def test_compiled_row_sums_are_right(dtype, size):
    """jaxlib 0.10.2 silently returns wrong numbers here on a CPU (jax-ml/jax issue 39103)."""
    with jax.enable_x64(True):
        i = jnp.arange(size, dtype=dtype)
        rows = jnp.stack((i, jnp.zeros_like(i), jnp.zeros_like(i)), axis=1)
        identity = jnp.eye(3, dtype=dtype)
        squares = jax.jit(jax.vmap(lambda row: jnp.sum((identity @ row) ** 2)))(rows)
    np.testing.assert_array_equal(np.asarray(squares), np.arange(size, dtype=dtype) ** 2)


def test_import_has_no_side_effects():
    """Importing changes no global flag and pulls in nothing heavy."""
    import subprocess
    import sys

    code = (
        "import sys, warnings; before = list(warnings.filters); import bayescg;"
        "assert warnings.filters == before;"
        "assert not {'jax', 'numpyro', 'MDAnalysis', 'matplotlib'} & set(sys.modules), sys.modules.keys();"
        "bayescg.force_match; import jax; assert not jax.config.jax_enable_x64"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
