"""How these tests compile."""

import pytest

from tests.compilation import quick


@pytest.fixture(scope="package", autouse=True)
def quick_compilation(tmp_path_factory):
    """Programs are small and many."""
    with quick(tmp_path_factory.mktemp("compiled")):
        yield
