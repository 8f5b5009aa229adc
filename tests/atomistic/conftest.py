"""Targets that take seconds to make."""

import pytest

from bayescg.atomistic import alanine_dipeptide


@pytest.fixture(scope="session")
def alanine_target():
    """Alanine dipeptide in OBC1 solvent at 300 K."""
    pytest.importorskip("openmm")
    return alanine_dipeptide()
