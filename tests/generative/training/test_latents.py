"""Automatic relevance determination: of more latents than there are hidden variables the right number is left."""

import jax
import numpy as np

from bayescg.atomistic import LogDensity
from bayescg.generative import Training
from bayescg.generative.discovery import _latents
from bayescg.generative.model.information import RELEVANT, latent_information
from bayescg.generative.model.latent_model import build_model
from bayescg.generative.model.whitening import whitening_of_samples
from bayescg.generative.training.checkpoint import Checkpoint
from bayescg.generative.training.replay import replay_data
from tests.compilation import optimized
from tests.seeds import shifted

DIMENSION, NOISE, OFFERED = 5, 0.3, 3


def hidden(wells: int, count: int) -> np.ndarray:
    """Coordinates with wells at -1 and 1, the others noise, all turned."""
    rng = np.random.default_rng(shifted(5))
    y = NOISE * rng.normal(size=(count, DIMENSION))
    y[:, :wells] += np.where(rng.uniform(size=(count, wells)) < 0.4, 1.0, -1.0)
    return y @ np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0]


@optimized()
def test_as_many_latents_as_hidden_variables():
    """It tells the wells apart (0.67 nats, and what is continuous within); the others know nothing."""
    samples = hidden(1, 12_000)
    target = LogDensity(lambda y: 0.0 * y[0], np.zeros(DIMENSION), 1.0)  # only its scale is used
    whitening = whitening_of_samples(target, samples, np.ones(len(samples)))
    models = [build_model(whitening, latents=OFFERED, key=k) for k in jax.random.split(jax.random.key(shifted(1)), 3)]
    training, parts = Training(), (replay_data(samples[:-2000]), replay_data(samples[-2000:]))
    model, interrupted = _latents(
        models, [parts[0]], parts[1], "discovered", training, Checkpoint(None, {}), 10_000, jax.random.key(shifted(2))
    )
    assert not interrupted
    known = np.sort(latent_information(model, samples, key=jax.random.key(shifted(3))))
    assert np.all(known[:-1] < RELEVANT)
    assert known[-1] > 0.6
