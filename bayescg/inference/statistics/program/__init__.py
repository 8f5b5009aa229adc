"""The pass as a program of JAX: on a GPU, and on a CPU without numba."""
