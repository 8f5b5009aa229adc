"""Run all studies, or those named: `python -m tests.studies inference.never_sampled`."""

import importlib
import sys

from tests.studies.wanted import BROKEN

STUDIES = {
    "inference": (
        *("never_sampled", "known_truth", "water_coverage", "second_liquid", "correlated_noise", "propagation"),
        *("relative_entropy", "fresh_run", "convergence", "ionic_liquid", "structure_equations", "which_fit"),
        *("weights", "local_coverage", "local_coverage.propagated", "local_coverage.choices", "ranks"),
    ),
    "simulation": ("engines", "salt_water"),
    "generative": ("bimodal", "alanine_reference", "alanine", "planted_latents", "molecular_dynamics"),
    "backmapping": (
        *("gaussian_chain", "alanine", "frozen", "free_energy", "distance", "round_trip", "centers", "liquid"),
    ),
    "surrogates": ("coverage", "fidelity"),
    "transfer": ("lennard_jones",),
    "many_body": ("stillinger_weber", "planted_library", "water_angles", "gay_berne", "uf3_drift", "demo"),
}


def main(wanted: list[str]) -> None:
    """Run them in turn; fails if a name is unknown, or if any bound did not hold."""
    names = [f"{folder}.{name}" for folder, several in STUDIES.items() for name in several]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        sys.exit(f"no study {', '.join(unknown)}; studies: {', '.join(names)}")
    for name in wanted or names:
        print(f"## {name}", flush=True)
        importlib.import_module(f"tests.studies.{name}").main()
    if BROKEN:
        sys.exit("\n".join(["what was wanted and does not hold:", *BROKEN]))


if __name__ == "__main__":
    main(sys.argv[1:])
