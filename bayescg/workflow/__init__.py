"""The main job from a YAML file: map, fit, simulate, observe, export, report; resumable.

`bayescg.workflow.load` reads a configuration, `bayescg.workflow.check` looks at its input, `bayescg.workflow.run`
carries out what is not up to date, and `bayescg.workflow.load_results` reads what a run has left. Names are imported
when first used: the command line takes its words from here, and its help must be quick.
"""

import importlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayescg.workflow.check import check as check
    from bayescg.workflow.folder import load_results as load_results
    from bayescg.workflow.initial import initial as initial
    from bayescg.workflow.runner import run as run
    from bayescg.workflow.schema.config import Config as Config
    from bayescg.workflow.schema.config import load as load

_HOME = {
    "Config": "schema.config",
    "check": "check",
    "initial": "initial",
    "load": "schema.config",
    "load_results": "folder",
    "run": "runner",
}

__all__ = ["Config", "check", "example", "initial", "load", "load_results", "run"]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'bayescg.workflow' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"bayescg.workflow.{_HOME[name]}"), name)
    return value


def example(name: str = "example") -> str:
    """A bundled configuration.

    Args:
        name: "example" (every setting, explained), "demo" or "demo_fast" (bundled water).

    Returns:
        Its text, in YAML.

    Raises:
        FileNotFoundError: for another name.
    """
    return files("bayescg.workflow").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
