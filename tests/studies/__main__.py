"""Run all studies, or those named: `python -m tests.studies never_sampled`."""

import importlib
import sys

from tests.studies.wanted import BROKEN

STUDIES = (
    *("never_sampled", "known_truth", "engines"),
    *("water_coverage", "second_liquid", "correlated_noise", "propagation", "relative_entropy"),
    *("bimodal", "alanine_reference", "alanine", "planted_latents", "molecular_dynamics"),
    *("gaussian_chain", "backmapping_alanine", "surrogates"),
    *("backmapping_frozen", "backmapping_free_energy", "backmapping_distance"),
    *("backmapping_round_trip", "backmapping_centers", "backmapping_liquid"),
    *("stillinger_weber", "planted_library", "water_angles", "gay_berne", "uf3_drift"),
)

if __name__ == "__main__":
    for name in sys.argv[1:] or STUDIES:
        print(f"## {name}", flush=True)
        importlib.import_module(f"tests.studies.{name}").main()
    if BROKEN:
        sys.exit("\n".join(["what was wanted and does not hold:", *BROKEN]))
