"""Constants in the units that are used everywhere: nm, ps, kJ/mol, Da, K, elementary charge."""

BOLTZMANN = 8.31446261815324e-3
"""Boltzmann's constant, that is the gas constant [kJ/mol/K]; exact since 2019."""
