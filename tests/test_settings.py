"""Settings from YAML: what is read, and where and how mistakes are said."""

from typing import Literal

import pytest
from pydantic import Field

from bayescg._settings import Count, Number, Positive, Section, Text, Texts, validate
from bayescg._yaml import read_yaml


class Inner(Section):
    size: Positive = 1.0
    """Of it."""
    kind: Literal["round", "square"] = "round"
    """Its shape."""


class Outer(Section):
    name: Text = Field(examples=["W"])
    """Of all."""
    parts: dict[Text, Inner] = Field(default_factory=dict)
    """By name."""
    files: Texts = ()
    """Read."""
    factor: Number = 2.0
    """Times."""
    count: Count | None = None
    """How many."""


def read(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return validate(Outer, read_yaml(path))


def test_values(tmp_path):
    found = read(tmp_path, "name: 3\nfiles: a.xtc\nfactor: 1e-3\nparts: {x: {size: 2}, 4: {kind: square}}\ncount:\n")
    assert found == Outer(
        name="3", files=("a.xtc",), factor=0.001, parts={"x": Inner(size=2.0), "4": Inner(kind="square")}
    )
    assert found.count is None
    assert read(tmp_path, "name: W\nfiles: [a, b]").files == ("a", "b")


def test_anchors_and_merged_tables(tmp_path):
    text = "name: W\nparts:\n  x: &x {size: 2, kind: square}\n  y: {<<: *x, size: 3}\n"
    assert read(tmp_path, text).parts["y"] == Inner(size=3.0, kind="square")


def test_sections_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Inner().size = 2.0


def test_a_docstring_below_a_field_is_its_description():
    assert Inner.model_fields["size"].description == "Of it."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam: W", "s.yaml, line 1, nam: unknown key 'nam'; did you mean 'name'?"),
        ("name: W\nqqq: 1", "s.yaml, line 2, qqq: unknown key 'qqq'; known here: name, parts, files, factor, count"),
        ("factor: 2", "s.yaml: `name` is missing, as in `name: W`"),
        ("name:", "s.yaml: `name` is missing, as in `name: W`"),
        ("name: true", "s.yaml, line 1, name: text was expected, not True"),
        ("name: [W]", "s.yaml, line 1, name: text was expected, not ['W']"),
        ("name: W\nfactor: many", "s.yaml, line 2, factor: a number was expected, not 'many'"),
        ("name: W\nfactor: true", "s.yaml, line 2, factor: a number was expected, not True"),
        ("name: W\nfactor: .nan", "s.yaml, line 2, factor: factor must be finite; got nan"),
        ("name: W\ncount: 1.0", "s.yaml, line 2, count: a whole number was expected, not 1.0"),
        ("name: W\ncount: '3'", "s.yaml, line 2, count: a whole number was expected, not '3'"),
        ("name: W\ncount: true", "s.yaml, line 2, count: a whole number was expected, not True"),
        ("name: W\ncount: 0", "s.yaml, line 2, count: count must be at least 1; got 0"),
        ("name: W\nfiles: [a, {b: c}]", "s.yaml, line 2, files[1]: text was expected, not {'b': 'c'}"),
        ("name: W\nparts: x", "s.yaml, line 2, parts: a table was expected, as in {SOL: W}, not 'x'"),
        ("name: W\nparts:\n  x: 1", "s.yaml, line 3, parts.x: a section of settings was expected, not 1"),
        ("name: W\nparts:\n  x:\n    size: 0", "s.yaml, line 4, parts.x.size: size must be positive; got 0"),
        (
            "name: W\nparts:\n  x:\n    kind: sqare",
            "s.yaml, line 4, parts.x.kind: one of round, square was expected, not 'sqare'; did you mean 'square'?",
        ),
        ("name: W\nparts:\n  x: {}\n  x: {}", "s.yaml, line 4: 'x' stands here a second time"),
        ("", "s.yaml holds no table of settings: lines such as `name: value` were expected"),
        ("- a", "s.yaml holds no table of settings: lines such as `name: value` were expected"),
        (
            "name: !!python/name:os.system",
            "s.yaml, line 1, is not YAML: could not determine a constructor for the tag ",
        ),
        ("name: W\nparts: &x {a: *x}", "s.yaml: its tables lie too deep in each other, or contain themselves"),
        ("name: [W", "s.yaml, line 1, is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("name: \x01", "s.yaml is not YAML: unacceptable character"),
    ],
)
def test_mistakes(tmp_path, text, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011  (the whole message is compared)
        read(tmp_path, text)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_aliases_that_explode(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    with pytest.raises(ValueError, match="unfolds to more than 100000 values"):
        read(tmp_path, "\n".join(lines))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_yaml(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.yaml is not YAML"):
        read_yaml(tmp_path / "latin.yaml")
