"""Files for OpenMM."""

from bayescg.exports.openmm import charges, many_body, tables  # noqa: F401 - each registers its forces
