"""Files for LAMMPS: tables, many-body styles, a data file, a script, and the check by a run of no steps."""
