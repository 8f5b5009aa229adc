"""The documentation is complete: public names in the reference, pages in the navigation, examples on pages."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, DOCS = ROOT / "bayescg", ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
COMMAND_ONLY = {"cli", "samplers"}
"""Rooms that nobody imports: the command line, and what other rooms share."""

ROOMS = sorted(
    path.stem
    for path in PACKAGE.iterdir()
    if not path.name.startswith("_") and path.stem not in COMMAND_ONLY and path.suffix in ("", ".py")
)


def source(*names):
    """Parsed code of a module or package, by its dotted name's parts."""
    path = PACKAGE.joinpath(*names)
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8"))


def public_names(room):
    """What `__all__` lists; of a module without it, its functions and classes."""
    body = source(room).body
    for node in body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return ast.literal_eval(node.value)
    defined = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [name for name in defined if not name.startswith("_")]


def entries():
    """Dotted names that the reference documents, members of modules included."""
    found = set()
    for path in (DOCS / "api").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        for name, options in re.findall(r"^::: (\S+)\n((?:    .*\n)*)", text + "\n", re.MULTILINE):
            found.add(name)
            listed = re.search(r"members: \[(.*)\]", options)
            found |= {f"{name}.{member.strip()}" for member in listed[1].split(",")} if listed else set()
    return found


def exists(name):
    """Whether a dotted name is public in its room, or lies in a file of that name."""
    _, room, *rest = name.split(".")
    if room not in ROOMS:
        return False
    if rest and rest[0] in public_names(room):
        return True
    return len(rest) > 1 and PACKAGE.joinpath(room, rest[0]).with_suffix(".py").is_file()


def nav_pages(part):
    """All pages of a part of the navigation."""
    if isinstance(part, str):
        return [part]
    return [page for each in (part.values() if isinstance(part, dict) else part) for page in nav_pages(each)]


def navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return nav_pages(yaml.safe_load(text)["nav"])


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_in_the_reference(room):
    known = entries()
    missing = [
        name for name in public_names(room) if not {f"bayescg.{room}.{name}", f"bayescg.{room}.{name}.{name}"} & known
    ]
    assert not missing, f"docs/api has no entry for {missing} of bayescg.{room}"


def test_names_at_the_top_are_in_the_reference():
    imports = next(node for node in source("__init__").body if isinstance(node, ast.If))
    names = {alias.name for node in imports.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    documented = {name.rsplit(".", 1)[-1] for name in entries()}
    assert not names - set(ROOMS) - documented


def test_the_reference_names_what_exists():
    assert not [name for name in sorted(entries()) if not exists(name)]


def test_every_page_is_in_the_navigation():
    listed = navigation()
    assert sorted(listed) == PAGES
    assert len(set(listed)) == len(listed)


def test_the_home_page_names_every_guide_and_example():
    linked = set(re.findall(r"\]\(([^)#]+\.md)", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert not [page for page in PAGES if page.startswith(("guide/", "examples/")) and page not in linked]


def test_every_example_has_a_page_that_shows_it():
    for script in (ROOT / "examples").glob("*.py"):
        page = DOCS / "examples" / f"{script.stem}.md"
        assert page.is_file(), f"{script.name} has no page"
        assert f'--8<-- "examples/{script.name}"' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_tables_have_rows_of_equal_length(page):
    text = re.sub(r"```.*?```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        assert len(set(cells)) == 1, f"{page}: {table.splitlines()[0]}"


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_snippets_use_public_names(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        used = re.findall(r"\bbcg\.(\w+)\.(\w+)", code)
        used += re.findall(r"(?<![\w.])(atomistic|backmapping|generative|surrogates)\.(\w+)", code)
        for room, names in re.findall(r"^from bayescg\.(\w+) import (.+)$", code, re.MULTILINE):
            used += [(room, name.strip()) for name in names.split(",")]
        for room, name in used:
            assert room not in ROOMS or name in public_names(room), f"{page}: bayescg.{room}.{name}"
