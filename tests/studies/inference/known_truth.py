"""Coverage of 90 % bands on known potentials, by amount of data and by method."""

import warnings

import numpy as np

import bayescg as bcg
from bayescg.inference import Sampling
from tests.inference import systems
from tests.inference.known_truth import FRAMES, REPLICATES, covered


def main() -> None:
    """40 replicates of five frames each, force noise as strong as the rms force."""
    warnings.filterwarnings("ignore", message="Pareto k|R-hat|only")
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF))
    truth = {"A-A": (systems.LJ, 0.30, systems.CUTOFF - 0.005)}
    for beads in (125, 343):
        data = systems.lennard_jones(REPLICATES * FRAMES, beads=beads, seed=1)
        for method, plan in (("laplace", Sampling(1, 1, 1000)), ("nuts", Sampling(2, 300, 500))):
            _, inside = covered(potential, data, truth, 1000, method=method, plan=plan)["A-A"]
            print(f"{beads} beads, {method}: pooled coverage {np.mean(inside):.3f} of {len(inside)} points", flush=True)


if __name__ == "__main__":
    main()
