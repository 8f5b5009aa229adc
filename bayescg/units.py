"""Constants in the units that are used everywhere: nm, ps, kJ/mol, Da, K, elementary charge."""

BOLTZMANN = 8.31446261815324e-3
"""Boltzmann's constant, that is the gas constant [kJ/mol/K]; exact since 2019."""

BAR = 16.605390671738466
"""A kJ/mol/nm^3 in bar."""

COULOMB = 138.93545764438198
"""Coulomb's constant 1 / (4 pi epsilon_0) [kJ nm / (mol e^2)], to the digits that OpenMM has."""

KCAL = 4.184
"""A kcal in kJ, exact."""

ANGSTROM = 0.1
"""An Angstrom in nm."""
