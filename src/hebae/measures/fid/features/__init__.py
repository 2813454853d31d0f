"""Feature networks, by whose outputs images are compared. Each has a module and a folder of files.

A module has ``load(weights)``, which returns an ``nn.Module`` from images, uint8 (n, height, width,
channels), to features (n, f). Its attribute ``chunk`` is the largest number of images for one call.
``hebae.config.registry.FEATURES`` maps names to modules. Those that are trained here are named like
their rules in ``workflow/rules/train.smk``, and share :mod:`.supervised`; otherwise no module
imports another, so editing one recomputes only its own features.
"""
