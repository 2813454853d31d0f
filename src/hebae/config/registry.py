"""Names a config may use, and where each of them lives.

Entries are ``module:function`` strings, so that reading a config imports no torch, and so
that editing one objective retrains the runs of that objective alone (see
:mod:`hebae.base.sources`; this table itself is not counted as a source of any result).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from hebae.base.errors import UserError

Parameters = Mapping[str, Mapping[str, Any]]
"""Keyword arguments that a config may set: name to JSON schema, with a description.

The default is the function's. ``repr`` leaves them out: the workflow trains again where an entry's
``repr`` changes, and what a parameter may be decides nothing about a run.
"""


POSITIVE = {"type": "number", "exclusiveMinimum": 0}
WIDTHS = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}}

KERNEL_SCALES: Parameters = {
    "prior_variance": {
        "description": "σ_p² in the kernel's scales C = 2·d·σ_p²·s (default 1).",
        **POSITIVE,
    },
    "scales": {
        "description": "The factors s of the kernel (default .1 .2 .5 1 2 5 10).",
        "type": "array",
        "minItems": 1,
        "items": POSITIVE,
    },
}

NETWORK_WIDTHS: Parameters = {
    "encoder_widths": {
        "description": "Hidden widths, in the order an image passes them.",
        **WIDTHS,
    },
    "decoder_widths": {"description": "Hidden widths, in the order a code passes them.", **WIDTHS},
}


@dataclass(frozen=True)
class DivergenceEntry:
    """A divergence of the codes from the prior, and its adversary where it needs one."""

    function: str
    parameters: Parameters = field(default_factory=dict, repr=False)
    adversary: str | None = None
    """Network of codes that the function takes as ``adversary``; it has its own optimiser."""
    adversary_parameters: Parameters = field(default_factory=dict, repr=False)
    """Of that network."""


DIVERGENCES = {
    "mmd": DivergenceEntry(
        "hebae.models.divergences.mmd:mmd",
        parameters={
            "kernel": {
                "description": "imq is Σ C/(C + r²) (default), gaussian is Σ exp(-r²/C).",
                "enum": ["imq", "gaussian"],
            },
            **KERNEL_SCALES,
        },
    ),
    "adversarial": DivergenceEntry(
        "hebae.models.divergences.adversarial:adversarial",
        adversary="hebae.models.divergences.adversarial:Discriminator",
        adversary_parameters={
            "widths": {
                "description": "Hidden widths of the discriminator (default 256, 256).",
                **WIDTHS,
            },
            "rate_factor": {
                "description": "Its learning rate, in units of the run's (default 0.3).",
                **POSITIVE,
            },
            "adam_beta1": {
                "description": "Decay of the first moment of its Adam (default 0.5).",
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
            },
        },
    ),
    "stein": DivergenceEntry("hebae.models.divergences.stein:stein"),
}


@dataclass(frozen=True)
class ObjectiveEntry:
    """A training objective, and what has to be known of it without importing it."""

    function: str
    _: KW_ONLY
    stochastic: bool = True
    """Whether the encoder outputs a log σ beside the mean."""
    bound: bool = True
    """Whether −(reconstruction + regulariser) is what the paper plots as a bound."""
    needs_covariance: bool = False
    """Whether a batch must hold more images than the code has dimensions."""
    parameters: Parameters = field(default_factory=dict, repr=False)
    takes_lam: bool = False
    """Whether the function is told λ, which must then be above 0."""
    takes_progress: bool = False
    """Whether the function is told the share of training steps done."""
    divergences: tuple[str, ...] = field(default=(), repr=False)
    """Those the function can be given as ``divergence``; the first where a config names none."""


OBJECTIVES = {
    "vae": ObjectiveEntry("hebae.models.objectives.vae:vae"),
    "hebae": ObjectiveEntry(
        "hebae.models.objectives.hebae:hebae",
        needs_covariance=True,
        parameters={
            "reparameterisation": {
                "description": "cholesky is Eq. 8 (default), diagonal is the released code's.",
                "enum": ["cholesky", "diagonal"],
            }
        },
    ),
    "wae_mmd": ObjectiveEntry(
        "hebae.models.objectives.wae:wae_mmd",
        stochastic=False,
        bound=False,
        parameters=KERNEL_SCALES,
    ),
    "wae_gan": ObjectiveEntry(
        "hebae.models.objectives.wae:wae_gan",
        stochastic=False,
        bound=False,
        divergences=("adversarial",),
    ),
    "infovae": ObjectiveEntry(
        "hebae.models.objectives.infovae:infovae",
        bound=False,
        parameters={
            "alpha": {
                "description": "λ·R = (1 - α)·KL(q(z|x) ‖ p) + (α + λ - 1)·D(q(z) ‖ p), so α + λ "
                ">= 1. At 1 (default) the information between image and code costs nothing.",
                "type": "number",
                "maximum": 1,
            }
        },
        takes_lam=True,
        divergences=("mmd", "adversarial", "stein"),
    ),
    "annealed_vae": ObjectiveEntry(
        "hebae.models.objectives.annealed_vae:annealed_vae",
        parameters={
            "warm_up": {
                "description": "The share of the steps over which the KL grows to its full size "
                "(default 0.5).",
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 1,
            }
        },
        takes_progress=True,
    ),
}


@dataclass(frozen=True)
class NetworkEntry:
    """An encoder and decoder pair, and the images it fits."""

    function: str
    parameters: Parameters = field(default_factory=dict, repr=False)
    required: tuple[str, ...] = field(default=(), repr=False)
    """The parameters that a config must set."""
    multiple: int = field(default=1, repr=False)
    """Height and width of an image must be multiples of this."""
    channels: int | None = field(default=None, repr=False)
    """How many channels an image must have; any number where None."""
    reconstructions: tuple[str, ...] = field(default=(), repr=False)
    """The reconstruction terms that its decoder's output fits; all where empty."""
    packs: bool = field(default=False, repr=False)
    """Whether several may be trained as one stack (:mod:`hebae.training.stack`)."""
    autoregressive: bool = False
    """Whether the decoder states each pixel given the ones before it: it is told the image, and
    images are drawn from it pixel by pixel."""
    megabytes: Callable[[Mapping[str, Any], int, int], float] = field(
        default=lambda parameters, batch_size, pixels: 0, repr=False
    )
    """An estimate of the networks and of what they keep of a batch for the gradient, from their
    parameters, the batch size and the values of an image; 0 where that is small."""


NETWORKS = {
    "dense": NetworkEntry(
        "hebae.models.networks.dense:build",
        parameters=NETWORK_WIDTHS,
        required=("encoder_widths", "decoder_widths"),
        packs=True,
    ),
    "convolutional": NetworkEntry(
        "hebae.models.networks.convolutional:build",
        parameters={
            "width": {
                "description": "Factor on the paper's numbers of filters (default 1).",
                "maximum": 16,
                **POSITIVE,
            },
            "batch_norm": {
                "description": "trained is the text's (default); frozen is the released code's, "
                "whose statistics stay 0 and 1, so that only a scale and an offset are learned.",
                "enum": ["trained", "frozen"],
            },
        },
        multiple=16,
        megabytes=lambda parameters, *_: 4000 * parameters.get("width", 1) ** 2,
    ),
    "pixelcnn": NetworkEntry(
        "hebae.models.networks.pixelcnn:build",
        parameters={
            **NETWORK_WIDTHS,
            "channels": {
                "description": "Channels of each stack (default 32).",
                "type": "integer",
                "minimum": 1,
                "maximum": 1024,
            },
            "layers": {
                "description": "Gated layers (default 5).",
                "type": "integer",
                "minimum": 1,
                "maximum": 64,
            },
            "kernel": {
                "description": "Columns that a layer sees, odd (default 5).",
                "enum": [3, 5, 7, 9, 11],
            },
        },
        required=("encoder_widths", "decoder_widths"),
        channels=1,
        reconstructions=("binary",),
        autoregressive=True,
        megabytes=lambda parameters, batch_size, pixels: (
            80e-6
            * batch_size
            * pixels
            * parameters.get("layers", 5)
            * parameters.get("channels", 32)
        ),
    ),
}


@dataclass(frozen=True)
class ReconstructionEntry:
    """A reconstruction term."""

    function: str
    likelihood: bool
    """Whether it is −log p(x|z) in nats, so that a bound on log p(x) can be made of it."""
    binary: bool = False
    """Whether it makes images black and white."""
    parameters: Parameters = field(default_factory=dict, repr=False)


RECONSTRUCTIONS = {
    # cross entropy summed over pixels, grey values being probabilities
    "bernoulli": ReconstructionEntry("hebae.models.reconstruction:bernoulli", likelihood=True),
    # the same of images made black and white
    "binary": ReconstructionEntry(
        "hebae.models.reconstruction:binary", likelihood=True, binary=True
    ),
    # −log density of images in [0, 1]
    "gaussian": ReconstructionEntry(
        "hebae.models.reconstruction:gaussian",
        likelihood=True,
        parameters={"variance": {"description": "σ² of a pixel (default 0.01).", **POSITIVE}},
    ),
    # of images in [−1, 1]
    "squared_error": ReconstructionEntry(
        "hebae.models.reconstruction:squared_error",
        likelihood=False,
        parameters={
            "reduction": {
                "description": "The loss takes its mean or its sum over pixels and channels …",
                "enum": ["mean", "sum"],
            },
            "factor": {"description": "… times this.", **POSITIVE},
        },
    ),
}


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset, and what has to be known of it to check a config before anything is run.

    ``n_train`` and ``n_test`` are None where they depend on what the user has. ``n_classes`` has
    the number of values of each label, and is empty for a dataset without labels.
    """

    function: str
    image_shape: tuple[int, int, int]
    n_train: int | None
    n_test: int | None
    n_classes: tuple[int, ...]
    raw: tuple[str, ...] = ()
    """The names of its raw files and folders, as they lie in ``data_dir``, or in its folder of the
    dataset's name: other content makes it another dataset."""
    look: str | None = None
    """``look(data_dir)``, which finds raw files that ``raw`` cannot name (:mod:`hebae.data.found`).
    """
    redistributable: bool = True
    """Whether images, and what networks make of them, may be handed on."""


DATASETS = {
    "digits": DatasetEntry("hebae.data.digits:load", (8, 8, 1), 1297, 500, (10,)),
    "toyfaces": DatasetEntry(
        "hebae.data.toyfaces:load", (64, 64, 3), 4000, 1000, (4, 6, 5, 3, 3, 4, 3, 5)
    ),
    "mnist": DatasetEntry(
        "hebae.data.mnist:load",
        (28, 28, 1),
        60_000,
        10_000,
        (10,),
        look="hebae.data.mnist_files:look",
    ),
    "celeba": DatasetEntry(
        "hebae.data.celeba:load",
        (64, 64, 3),
        None,
        None,
        (),
        look="hebae.data.celeba_files:look",
        redistributable=False,  # for research alone
    ),
}


@dataclass(frozen=True)
class FeaturesEntry:
    """A network in whose features images are compared (Fréchet distance)."""

    function: str
    needs_labels: bool = False


FEATURES = {
    "inception": FeaturesEntry("hebae.measures.fid.features.inception:load"),
    "classifier": FeaturesEntry("hebae.measures.fid.features.classifier:load", needs_labels=True),
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


def lookup(table: Mapping[str, Any], kind: str, name: str, where: str = "") -> Any:
    """The entry of a registry, or an error, at `where`, that lists the names there are."""
    if name not in table:
        at = f"{where}: " if where else ""
        raise UserError(f"{at}unknown {kind} {name!r}; there are: {', '.join(table)}")
    return table[name]


def resolve(entry: str) -> Callable[..., Any]:
    """Import the function a ``module:function`` entry names."""
    return pkgutil.resolve_name(entry)
