"""Files for OpenMM."""

from bayescg.exports.openmm import many_body, tables  # noqa: F401 - each registers its forces
