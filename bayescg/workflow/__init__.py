"""The main job from a YAML file: map, fit, simulate, observe, export, report; resumable.

`bayescg.workflow.load` reads and checks a configuration, `bayescg.workflow.run` carries out what is not up to date.
"""

from importlib.resources import files

from bayescg.workflow.config import Config, load
from bayescg.workflow.steps import STEPS, run

__all__ = ["STEPS", "Config", "example", "load", "run"]


def example(name: str = "example") -> str:
    """Text of a bundled configuration.

    Args:
        name: "example" (every setting, explained), "demo" or "demo_fast" (bundled water).
    """
    return files("bayescg.workflow").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
