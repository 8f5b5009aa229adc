"""The names of the package's face: each has one home, is listed, and is known to type checkers."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import bayescg as bcg


def names_for_type_checkers() -> dict[str, str]:
    """What is imported for type checkers, and where from."""
    tree = ast.parse(Path(bcg.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in ast.walk(block) if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_names_are_listed_once_where_they_come_from():
    assert len(set(bcg.__all__)) == len(bcg.__all__)
    assert set(bcg.__all__) == {*names_for_type_checkers(), "__version__"} == set(dir(bcg))


@pytest.mark.parametrize("name", sorted(names_for_type_checkers()))
def test_names_lead_to_what_type_checkers_see(name):
    home = names_for_type_checkers()[name]
    module = importlib.import_module(home)
    assert getattr(bcg, name) is (
        importlib.import_module(f"{home}.{name}") if home == "bayescg" else getattr(module, name)
    )


def test_rooms_are_there_without_being_imported():
    """`bcg.data` and its like, in a process that has imported nothing else."""
    rooms = sorted(path.parent.name for path in Path(bcg.__file__).parent.glob("*/__init__.py"))
    asked = [room for room in rooms if room not in ("cli", "geometry", "loops")]
    code = f"import bayescg as bcg\nfor room in {asked!r}: getattr(bcg, room)\nprint('all there')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "all there", done.stderr
