"""Markov chain and variational sampling that several rooms use, and the verdicts on it."""
