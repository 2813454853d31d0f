"""A small run for tests to vary."""

import dataclasses

from hebae.config.run import Run, Training
from hebae.models.evaluation import reconstruction_of

RUN = Run(
    dataset="digits",
    model="HEBAE",
    latent_dim=4,
    lam=1.0,
    seed=3,
    objective="hebae",
    parameters={},
    network="dense",
    network_parameters={"encoder_widths": [64, 32], "decoder_widths": [32, 32]},
    reconstruction="bernoulli",
    reconstruction_parameters={},
    training=Training(epochs=12, batch_size=128, learning_rate=1e-3, learning_rate_decay=0.995),
)

BERNOULLI = reconstruction_of(RUN, (8, 8, 1))


def changed(**fields) -> Run:
    """RUN with other fields, those of its training included."""
    training = {key: fields.pop(key) for key in list(fields) if hasattr(RUN.training, key)}
    return dataclasses.replace(
        RUN, **fields, training=dataclasses.replace(RUN.training, **training)
    )
