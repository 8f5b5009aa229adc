"""Learning the autoregressive model: wells, inputs and processes of one coordinate after the other."""

from __future__ import annotations

from collections.abc import Mapping

import equinox as eqx
import gpjax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg._runtime import progress
from bayescg.backmapping.conditional.classes import fit_classifier
from bayescg.backmapping.conditional.coordinates import Column
from bayescg.backmapping.conditional.descriptors import Descriptors
from bayescg.backmapping.conditional.features import Features, bases_of, fit_features
from bayescg.backmapping.conditional.model import WIDEST, CoordinateModel, Mixture, Single
from bayescg.backmapping.conditional.regression import Inputs, Regression, choose_inputs, fit_regression
from bayescg.backmapping.conditional.rotamers import Wells, find_wells

_WRAPPED = 0.6
"""Standard deviation [rad] from which values near the opposite side of the circle matter."""

_LEAST = (0.001, 0.01)
"""Smallest noise of lengths [nm] and angles [rad], below what any vibrates by at room temperature: coordinates that a
simulation held rigid have a density, too."""


def fit_model(
    columns: tuple[Column, ...],
    coordinates: Float[np.ndarray, "row coordinate"],
    descriptors: Descriptors,
    values: Float[np.ndarray, "row descriptor"],
    *,
    kernels: Mapping[str, gpjax.kernels.AbstractKernel],
    method: str,
    key,
) -> CoordinateModel:
    """Learn the density of coordinates given descriptors.

    Args:
        columns: what each coordinate is.
        coordinates: from data.
        descriptors: what the descriptors are.
        values: of the descriptors, from the same frames.
        kernels: GPJax kernel of the smooth parts, of unit lengthscale and variance, for each kind of coordinate.
        method: "laplace" or "nuts".
        key: random key.

    Returns:
        The model.
    """
    features = fit_features(columns, coordinates, values)
    matrix = np.asarray(jax.jit(jax.vmap(features.all))(jnp.asarray(coordinates), jnp.asarray(values)))
    bases = bases_of(features, descriptors)
    learned = [k for k, column in enumerate(columns) if column.spread == "learned"]
    one = Wells((0.0,), ())
    wells = {k: find_wells(coordinates[:, k]) if columns[k].periodic else one for k in learned}
    mixed = [k for k in learned if len(wells[k].centers) > 1]
    known = np.arange(matrix.shape[1]) < features.begin(0)
    every = np.ones(len(matrix), bool)
    mixtures, processes, chosen = [], [], []
    with progress("Gaussian processes", len(learned)) as advance:
        for k in (*mixed, *_order(columns, features, [k for k in learned if k not in mixed])):
            table = np.where(known, matrix, 0.0)
            fold, kernel = jax.random.fold_in(key, k), kernels[columns[k].kind]
            if k in mixed:
                mixtures.append(
                    _mixture(k, columns[k], wells[k], table, coordinates[:, k], bases, kernel, method, fold)
                )
            else:
                center = float(features.center[k])
                given = (columns[k], center, table, coordinates[:, k], every, bases)
                processes.append(_process(*given, kernel=kernel, method=method, key=fold))
                chosen.append(k)
            known[features.begin(k) : features.begin(k + 1)] = True
            advance(1)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *processes) if processes else None
    return CoordinateModel(columns, features, tuple(mixtures), Single(tuple(chosen), stacked))


def _order(columns, features: Features, learned: list[int]) -> list[int]:
    """Soft torsions first, whose values many others follow; then dihedrals, angles and lengths."""
    soft = np.asarray(features.soft)
    rank = {"bond": 3, "angle": 2}
    return sorted(learned, key=lambda k: (0 if soft[k] else rank.get(columns[k].kind, 1), k))


def _mixture(k, column, wells: Wells, table, values, bases, kernel, method, key) -> Mixture:
    label = wells.assign(values)
    hot = np.eye(len(wells.centers))[label]
    inputs = _class_inputs(table, hot, bases)
    classifier = fit_classifier(table, label, inputs, kernel=kernel)
    processes = tuple(
        _process(
            column, c, table, values, label == w, bases, kernel=kernel, method=method, key=jax.random.fold_in(key, w)
        )
        for w, c in enumerate(wells.centers)
    )
    return Mixture(k, classifier, processes)


def _class_inputs(table, hot, bases) -> Inputs:
    """Inputs that tell the classes apart: those of each against the rest."""
    parts = [choose_inputs(table, (h - h.mean()) / h.std(), bases) for h in hot.T[1:]]

    def merged(columns, width):
        found = list(dict.fromkeys(int(i) for turn in zip(*columns, strict=True) for i in turn if i))[:width]
        return np.array(found + [0] * (width - len(found)))

    linear, smooth = [p.linear for p in parts], [p.smooth for p in parts]
    return Inputs(merged(linear, len(linear[0])), merged(smooth, len(smooth[0])))


def _process(column: Column, center: float, table, values, rows, bases, *, kernel, method, key) -> Regression:
    """The process of one coordinate in one well; on the circle, values are taken at their image next to the mean."""
    target = values if not column.periodic else center + _wrapped(values - center)
    least = _LEAST[0 if column.kind == "bond" else 1]
    size = max(float(target[rows].std()), least)
    turning = column.periodic and size > _WRAPPED

    def fit(target):
        inputs = choose_inputs(table[rows], (target[rows] - target[rows].mean()) / size, bases)
        return fit_regression(table, target, inputs, rows=rows, least=least, kernel=kernel, method=method, key=key)

    fitted = fit(target)
    if not turning:
        return fitted
    means = np.asarray(_means(fitted, jnp.asarray(table)))
    fitted = fit(means + _wrapped(values - means))
    return _widened(fitted, _wrapped(values - np.asarray(_means(fitted, jnp.asarray(table))))[rows])


@eqx.filter_jit
def _means(fitted: Regression, table):
    return jax.vmap(lambda features: fitted.predict(features)[0])(table)


def _widened(fitted: Regression, rest: np.ndarray) -> Regression:
    """The noise of a wrapped Gaussian from the mean resultant length, R = exp(-s^2 / 2), without its bias.

    The variance of values that were wrapped is too small: for a uniform angle it is pi^2 / 3, not infinite.
    """
    length = np.mean(np.cos(rest)) ** 2 + np.mean(np.sin(rest)) ** 2
    squared = max((len(rest) * length - 1) / (len(rest) - 1), np.exp(-(WIDEST**2)))
    noise = min(-np.log(squared), WIDEST**2) / float(fitted.scale) ** 2
    widest = WIDEST**2 / float(fitted.scale) ** 2 / float(fitted.inflation)
    if noise <= float(fitted.noise):
        return fitted
    return eqx.tree_at(lambda f: f.noise, fitted, np.asarray(min(noise, widest)))


def _wrapped(angle):
    return (angle + np.pi) % (2 * np.pi) - np.pi
