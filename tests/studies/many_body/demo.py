"""The bundled demo: is the misfit of g(r) with three-body forces at most half of that of pairs alone?

Runs `bayescg demo` as users do, two minutes on two cores. Cutoff and knots were chosen on another trajectory.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bayescg import datasets, workflow
from bayescg.report import Results
from tests.studies.wanted import wanted


def misfits(results: Results) -> dict[str, float]:
    """Integral of the absolute difference of g(r) from the atomistic one [nm], by potential."""
    return {
        name: next(each.difference for each in part.observables if each.kind == "rdf")
        for name, part in results.each.items()
    }


def main() -> None:
    """Both misfits, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(workflow.example("demo"), encoding="utf-8")
        datasets.water(Path(folder) / "data")
        found = misfits(workflow.run(workflow.load(config), say=lambda text: print(text, flush=True)))
    print(", ".join(f"{name}: {value:.4f} nm" for name, value in found.items()))
    wanted(
        "g(r) of the demo: three-body's integrated difference over the pair's",
        found["three_body"] / found["pair"],
        high=0.5,
    )
