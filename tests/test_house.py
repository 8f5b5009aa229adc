"""The house stays readable: few files in a folder, none long, tests where the package has the same room."""

import statistics
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = sorted((ROOT / "bayescg").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_no_folder_holds_more_than_fifteen_files():
    crowded = {str(folder): n for folder, n in Counter(path.parent for path in PACKAGE + TESTS).items() if n > 15}
    assert not crowded


def test_files_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE}
    assert not {str(path): n for path, n in lengths.items() if n > 350}
    assert statistics.median(lengths.values()) <= 160


def test_tests_lie_where_the_package_has_a_room():
    ours = {path.parent.relative_to(ROOT / "tests") for path in TESTS}
    rooms = {path.parent.relative_to(ROOT / "bayescg") for path in PACKAGE}
    assert not {str(each) for each in ours - rooms if each.parts[0] not in ("docs", "studies", "benchmarks")}
