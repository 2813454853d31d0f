"""Feature networks, in whose outputs images are compared: one a module, each with a folder's files.

A module has ``load(weights)``, which returns an ``nn.Module`` from images, uint8 (n, height,
width, channels), to features (n, f), and with ``chunk``, the most images it may be given at once.
Which module a name stands for is in ``hebae.config.registry.FEATURES``. None of them imports
another, so that editing one recomputes its own features alone.
"""
