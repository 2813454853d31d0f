"""Names a config may use, and where each of them lives.

Entries are ``module:function`` strings, so that reading a config imports no torch, and so
that editing one objective retrains the runs of that objective alone (see
:mod:`hebae.base.sources`; this table itself is not counted as a source of any result).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hebae.base.errors import UserError


@dataclass(frozen=True)
class Divergence:
    """A divergence of the codes from the prior, and its adversary where it needs one."""

    function: str
    parameters: tuple[str, ...] = ()
    """Keyword arguments of the function that a config may set."""
    adversary: str | None = None
    """Network of codes that the function takes as ``adversary``; it has its own optimiser."""
    adversary_parameters: tuple[str, ...] = ()
    """Keyword arguments of that network that a config may set."""


DIVERGENCES = {
    "mmd": Divergence("hebae.models.divergences.mmd:mmd", ("kernel", "prior_variance", "scales")),
    "adversarial": Divergence(
        "hebae.models.divergences.adversarial:adversarial",
        adversary="hebae.models.divergences.adversarial:Discriminator",
        adversary_parameters=("widths", "rate_factor", "adam_beta1"),
    ),
    "stein": Divergence("hebae.models.divergences.stein:stein"),
}


@dataclass(frozen=True)
class Objective:
    """A training objective, and what has to be known of it without importing it."""

    function: str
    stochastic: bool = True
    """Whether the encoder outputs a log σ beside the mean."""
    bound: bool = True
    """Whether −(reconstruction + regulariser) is what the paper plots as a bound."""
    needs_covariance: bool = False
    """Whether a batch must hold more images than the code has dimensions."""
    parameters: tuple[str, ...] = ()
    """Keyword arguments of the function that a config may set."""
    takes_weight: bool = False
    """Whether the function is told λ, which must then be above 0."""
    divergences: tuple[str, ...] = ()
    """Those the function can be given as ``divergence``; the first where a config names none."""


OBJECTIVES = {
    "vae": Objective("hebae.models.objectives.vae:vae"),
    "hebae": Objective(
        "hebae.models.objectives.hebae:hebae",
        needs_covariance=True,
        parameters=("reparameterisation",),
    ),
    "wae_mmd": Objective(
        "hebae.models.objectives.wae:wae_mmd",
        stochastic=False,
        bound=False,
        parameters=("prior_variance", "scales"),
    ),
    "wae_gan": Objective(
        "hebae.models.objectives.wae:wae_gan",
        stochastic=False,
        bound=False,
        divergences=("adversarial",),
    ),
    "infovae": Objective(
        "hebae.models.objectives.infovae:infovae",
        bound=False,
        parameters=("alpha",),
        takes_weight=True,
        divergences=("mmd", "adversarial", "stein"),
    ),
}


@dataclass(frozen=True)
class Network:
    """An encoder and decoder pair, and the images it fits."""

    function: str
    required: tuple[str, ...] = ()
    """Keyword arguments of the function that a config must set."""
    optional: tuple[str, ...] = ()
    """Those that it may set."""
    multiple: int = 1
    """Height and width of an image must be multiples of this."""
    channels: int | None = None
    """How many channels an image must have; any number where None."""
    reconstructions: tuple[str, ...] = ()
    """The reconstruction terms that its decoder's output fits; all where empty."""
    packs: bool = False
    """Whether several may be trained as one stack of weights (:mod:`hebae.training.stack`)."""
    autoregressive: bool = False
    """Whether the decoder states each pixel given the ones before it: it is told the image, and
    images are drawn from it pixel by pixel."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """All keyword arguments that a config may set."""
        return self.required + self.optional


NETWORKS = {
    "dense": Network(
        "hebae.models.networks.dense:build",
        required=("encoder_widths", "decoder_widths"),
        packs=True,
    ),
    "convolutional": Network(
        "hebae.models.networks.convolutional:build", optional=("width", "batch_norm"), multiple=16
    ),
    "pixelcnn": Network(
        "hebae.models.networks.pixelcnn:build",
        required=("encoder_widths", "decoder_widths"),
        optional=("channels", "layers", "kernel"),
        channels=1,
        reconstructions=("binary",),
        autoregressive=True,
    ),
}


@dataclass(frozen=True)
class Reconstruction:
    """A reconstruction term."""

    function: str
    likelihood: bool
    """Whether it is −log p(x|z) in nats, so that a bound on log p(x) can be made of it."""
    binary: bool = False
    """Whether it makes images black and white."""
    parameters: tuple[str, ...] = ()
    """Keyword arguments of the function that a config may set."""


RECONSTRUCTIONS = {
    "bernoulli": Reconstruction("hebae.models.reconstruction:bernoulli", likelihood=True),
    "binary": Reconstruction("hebae.models.reconstruction:binary", likelihood=True, binary=True),
    "gaussian": Reconstruction(
        "hebae.models.reconstruction:gaussian", likelihood=True, parameters=("variance",)
    ),
    "squared_error": Reconstruction(
        "hebae.models.reconstruction:squared_error",
        likelihood=False,
        parameters=("reduction", "factor"),
    ),
}


@dataclass(frozen=True)
class Dataset:
    """A dataset, and what has to be known of it to check a config before anything is run.

    ``n_train`` and ``n_test`` are None where they depend on what the user has: files or folders
    of the names ``raw``, here with the sizes in bytes of the published ones (a text file may end
    its lines in two ways). ``n_classes`` has the number of values of each label, and is empty
    for a dataset without labels.
    """

    function: str
    image_shape: tuple[int, int, int]
    n_train: int | None
    n_test: int | None
    n_classes: tuple[int, ...]
    raw: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    redistributable: bool = True
    """Whether images, and what networks make of them, may be handed on."""


DATASETS = {
    "digits": Dataset("hebae.data.digits:load", (8, 8, 1), 1297, 500, (10,)),
    "toyfaces": Dataset(
        "hebae.data.toyfaces:load", (64, 64, 3), 4000, 1000, (4, 6, 5, 3, 3, 4, 3, 5)
    ),
    "mnist": Dataset("hebae.data.mnist:load", (28, 28, 1), 60_000, 10_000, (10,)),
    "celeba": Dataset(
        "hebae.data.celeba:load",
        (64, 64, 3),
        None,
        None,
        (),
        raw={
            "img_align_celeba.zip": (1_443_490_838,),
            "img_align_celeba": (),
            "list_eval_partition.txt": (202_599 * 13, 202_599 * 14),
        },
        redistributable=False,  # for research alone
    ),
}


@dataclass(frozen=True)
class Features:
    """A network in whose features images are compared (Fréchet distance)."""

    function: str
    needs_labels: bool = False


FEATURES = {
    "inception": Features("hebae.measures.fid.features.inception:load"),
    "classifier": Features("hebae.measures.fid.features.classifier:load", needs_labels=True),
}


@dataclass(frozen=True)
class MeasureEntry:
    """A measure of trained runs. Each of its rows describes one run; its table has its name."""

    runs: str = "default_runs"
    """The method of ``Experiment`` that lists the measured runs."""
    rows: str | None = None
    """A function of a posterior alone: ``rows(posterior, run, threads, **protocol)``. One job
    takes all of these (:mod:`hebae.measures.measure`); a measure without has its own rule."""
    protocol: str | None = None
    """The field of a dataset's config that holds the keyword arguments of `rows`."""


MEASURES = {
    "fid": MeasureEntry("fid_runs"),
    "covariance": MeasureEntry(rows="hebae.measures.covariance:rows"),
    "active_units": MeasureEntry(rows="hebae.measures.active_units:rows"),
    "mutual_information": MeasureEntry(
        rows="hebae.measures.mutual_information:rows", protocol="mutual_information"
    ),
    "diagnostics": MeasureEntry("diagnostics_runs"),
    "index_code_information": MeasureEntry(rows="hebae.measures.index_code_information:rows"),
    "bounds": MeasureEntry("bounds_runs"),
}


@dataclass(frozen=True)
class FigureEntry:
    """A figure: what the report calls it, what it is drawn from, what it needs of a dataset."""

    title: str
    shows: str
    group: str
    """Where the report lists it. Groups are shown in the order of :data:`FIGURES`."""
    tables: tuple[str, ...] = ()
    draws: str | None = None
    """The function that draws it: ``draw`` of the module with the figure's name where None."""
    needs_bound: bool = False
    needs_fid: bool = False
    needs_images: bool = False
    needs_diagnostics: bool = False
    needs_likelihood: bool = False
    """A model with a stochastic encoder and a likelihood: log p(x) can be bounded for it."""
    needs_covariance: bool = False
    """A model whose regulariser takes the covariance of a batch."""


PAPER, INFOVAE, BOUNDS = "Figures of the paper", "InfoVAE", "Fair bounds"

FIGURES = {
    "fig1a": FigureEntry(
        "Figure 1a",
        "the bound against epochs and weights",
        PAPER,
        ("elbo_by_epoch", "elbo_by_weight"),
        needs_bound=True,
    ),
    "fig1b": FigureEntry(
        "Figure 1b",
        "Fréchet distance of samples against weights",
        PAPER,
        ("fid",),
        needs_fid=True,
    ),
    "fig2a": FigureEntry(
        "Figure 2a",
        "covariance and correlation of the codes",
        PAPER,
        ("covariance",),
        "hebae.figures.covariance_heatmaps:draw",
    ),
    "fig2b": FigureEntry(
        "Figure 2b",
        "covariance and correlation of the codes, faces",
        PAPER,
        ("covariance",),
        "hebae.figures.covariance_heatmaps:draw",
    ),
    "fig2c": FigureEntry(
        "Figure 2c",
        "information between images and codes",
        PAPER,
        ("mutual_information",),
        "hebae.figures.information:draw",
    ),
    "fig2d": FigureEntry(
        "Figure 2d",
        "information between images and codes, faces",
        PAPER,
        ("mutual_information",),
        "hebae.figures.information:draw",
    ),
    "fig3": FigureEntry(
        "Figure 3",
        "interpolations, reconstructions and samples, faces",
        PAPER,
        draws="hebae.figures.image_panels:draw_strips",
        needs_images=True,
    ),
    "appendix_c": FigureEntry(
        "Figure of Appendix C",
        "interpolations, reconstructions and samples",
        PAPER,
        draws="hebae.figures.image_panels:draw_blocks",
        needs_images=True,
    ),
    "infovae_diagnostics": FigureEntry(
        "Diagnostics",
        "distance of the codes from the prior",
        INFOVAE,
        ("diagnostics",),
        needs_diagnostics=True,
    ),
    "infovae_decoder": FigureEntry(
        "Decoders",
        "which models use their code",
        INFOVAE,
        ("index_code_information", "elbo_by_weight"),
        needs_images=True,
    ),
    "infovae_samples": FigureEntry(
        "Samples", "random samples beside test images", INFOVAE, needs_images=True
    ),
    "fair_bounds": FigureEntry(
        "Fair bounds",
        "what the paper’s bound leaves out",
        BOUNDS,
        ("elbo_by_weight", "index_code_information", "bounds"),
        needs_likelihood=True,
    ),
    "batch_bias": FigureEntry(
        "Batch bias", "what codes that match the prior score", BOUNDS, needs_covariance=True
    ),
}


def drawn_by(figure: str) -> str:
    """The ``module:function`` that draws a figure."""
    return FIGURES[figure].draws or f"hebae.figures.{figure}:draw"


def lookup(table: Mapping[str, Any], kind: str, name: str) -> Any:
    """The entry of a registry, or an error that lists the names there are."""
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}; there are: {', '.join(table)}")
    return table[name]


def resolve(entry: str) -> Callable[..., Any]:
    """Import the function a ``module:function`` entry names."""
    return pkgutil.resolve_name(entry)
