"""How these tests compile, and targets that take seconds to make."""

import pytest

from bayescg.atomistic import alanine_dipeptide
from tests.compilation import quick


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    """Programs are large and run once or twice."""
    with quick():
        yield


@pytest.fixture(scope="session")
def alanine_target():
    """Alanine dipeptide in OBC1 solvent at 300 K."""
    pytest.importorskip("openmm")
    return alanine_dipeptide()
