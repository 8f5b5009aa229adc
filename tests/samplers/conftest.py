"""How these tests compile."""

import pytest

from tests.compilation import quick


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    """Programs are small and many."""
    with quick():
        yield
