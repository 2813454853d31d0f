"""The names that a config may use, and the function behind each of them.

Entries are ``module:function`` strings. Reading a config therefore imports no torch, and editing
one objective retrains only the runs of that objective (see :mod:`hebae.base.sources`; this table
itself does not count as a source of any result).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from hebae.base.errors import UserError

Parameters = Mapping[str, Mapping[str, Any]]
"""Keyword arguments that a config may set, by name; each is a JSON schema with a description.

The function has the default. ``repr`` leaves these out: the workflow trains again if the ``repr``
of an entry changes, and the allowed values of a parameter change no run.
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
    """A divergence of the codes from the prior, and its adversary if it needs one."""

    function: str
    parameters: Parameters = field(default_factory=dict, repr=False)
    adversary: str | None = None
    """The network that the function takes as ``adversary``; it has its own optimiser."""
    adversary_parameters: Parameters = field(default_factory=dict, repr=False)
    """Parameters of that network."""
    takes_posterior: bool = False
    """Whether the function takes all of :class:`hebae.models.latent.Codes`, and not z alone."""
    needs_covariance: bool = field(default=False, repr=False)
    """Whether a batch must hold more images than the code has dimensions."""
    bound: bool = field(default=False, repr=False)
    """Whether −(reconstruction + it) compares with what the paper plots as a bound."""
    stands_for: str | None = field(default=None, repr=False)
    """The divergence of which it is what is left where codes have no noise."""


MEAN_WEIGHT: Parameters = {
    "mean_weight": {
        "description": "w of R = KL(N(m, S) ‖ N(m, I)) + w·½‖m‖², m and S the moments of a batch's "
        "means (default 1, Theorem 1).",
        "type": "number",
        "minimum": 0,
    }
}

REPARAMETERISATION: Parameters = {
    "reparameterisation": {
        "description": "cholesky is Eq. 8 (default), diagonal is the released code's.",
        "enum": ["cholesky", "diagonal"],
    }
}

LOG_VARIANCE: Parameters = {
    "log_variance": {
        "description": "Whether the encoder's output is log σ², as in the released VAE; by default "
        "it is log σ.",
        "type": "boolean",
    }
}

SIGMA: Parameters = {"sigma": {"description": "σ of every code (default 0.1).", **POSITIVE}}

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
    # of the means of a batch: HEBAE's
    "moments": DivergenceEntry(
        "hebae.models.divergences.moments:moments",
        parameters=MEAN_WEIGHT,
        takes_posterior=True,
        needs_covariance=True,
        bound=True,
    ),
    # of each q(z|x): the VAE's
    "posterior_kl": DivergenceEntry(
        "hebae.models.divergences.per_sample:mean_posterior_kl", takes_posterior=True, bound=True
    ),
    # what is left of the VAE's for codes without noise
    "squared_norm": DivergenceEntry(
        "hebae.models.divergences.per_sample:squared_norm",
        takes_posterior=True,
        stands_for="posterior_kl",
    ),
}


@dataclass(frozen=True)
class ObjectiveEntry:
    """A training objective, and the facts about it that are needed without importing it."""

    function: str
    _: KW_ONLY
    stochastic: bool = True
    """Whether codes are drawn, with σ > 0, so that q(z|x) has a density."""
    fixed_deviation: bool = field(default=False, repr=False)
    """Whether σ is a parameter; otherwise the encoder of a stochastic objective outputs it."""
    bound: bool = True
    """Whether the paper plots −(reconstruction + regulariser) of this objective as a bound. None
    is plotted with a divergence that gives no bound."""
    needs_covariance: bool = False
    """Whether a batch must hold more images than the code has dimensions."""
    parameters: Parameters = field(default_factory=dict, repr=False)
    takes_lam: bool = False
    """Whether the function takes λ, which must then be above 0."""
    takes_progress: bool = False
    """Whether the function takes the share of training steps that are done."""
    divergences: tuple[str, ...] = field(default=(), repr=False)
    """The divergences that the function can take; the first one is the default."""
    charges: str | None = field(default=None, repr=False)
    """The divergence that R is, of a function that takes none."""

    @property
    def noise(self) -> str:
        """The noise of the codes, one of :data:`NOISES`."""
        if not self.stochastic:
            return "none"
        if self.fixed_deviation:
            return "fixed"
        return "batch" if self.needs_covariance else "free"

    @property
    def learns_deviation(self) -> bool:
        """Whether the encoder outputs σ beside the mean."""
        return self.stochastic and not self.fixed_deviation

    @property
    def deviation_parameters(self) -> Parameters:
        """What a config may set of σ besides the function's own parameters."""
        return SIGMA if self.fixed_deviation else LOG_VARIANCE if self.stochastic else {}


NOISES = {"none": "no noise", "free": "σ free", "batch": "σ∘L", "fixed": "σ fixed"}
"""The noises of codes, as figures call them: z = μ, μ + σ∘ε, μ + σ∘(L ε) and μ + s·ε."""

COMPARED = {"moments": "moments", "mmd": "MMD", "posterior_kl": "per-sample KL"}
"""The divergences of the question of Section 5, as figures call them (docs/paper.md, "Noise or
divergence")."""

PLAIN: Mapping[str, Any] = {"reparameterisation": "cholesky", "mean_weight": 1, "alpha": 1}
"""The values of parameters at which an objective is a noise with a divergence and nothing else."""

OBJECTIVES = {
    "vae": ObjectiveEntry("hebae.models.objectives.vae:vae", charges="posterior_kl"),
    "hebae": ObjectiveEntry(
        "hebae.models.objectives.hebae:hebae",
        needs_covariance=True,
        parameters={**REPARAMETERISATION, **MEAN_WEIGHT},
        charges="moments",
    ),
    "wae_mmd": ObjectiveEntry(
        "hebae.models.objectives.wae:wae_mmd",
        stochastic=False,
        bound=False,
        parameters=KERNEL_SCALES,
        charges="mmd",
    ),
    "wae_gan": ObjectiveEntry(
        "hebae.models.objectives.noise:no_noise",
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
    # Four kinds of noise, each with any divergence (docs/paper.md, "Noise or divergence"). Many of
    # these models are the ones above: batch_noise with moments is hebae.
    "no_noise": ObjectiveEntry(
        "hebae.models.objectives.noise:no_noise",
        stochastic=False,
        divergences=("moments", "mmd", "squared_norm", "adversarial", "stein"),
    ),
    "free_noise": ObjectiveEntry(
        "hebae.models.objectives.noise:independent_noise",
        divergences=("moments", "mmd", "posterior_kl", "adversarial", "stein"),
    ),
    "batch_noise": ObjectiveEntry(
        "hebae.models.objectives.hebae:batch_noise",
        needs_covariance=True,
        parameters=REPARAMETERISATION,
        divergences=("moments", "mmd", "posterior_kl", "adversarial", "stein"),
    ),
    "fixed_noise": ObjectiveEntry(
        "hebae.models.objectives.noise:independent_noise",
        fixed_deviation=True,
        divergences=("moments", "mmd", "posterior_kl", "adversarial", "stein"),
    ),
}


@dataclass(frozen=True)
class NetworkEntry:
    """A pair of an encoder and a decoder, and the images that it fits."""

    function: str
    parameters: Parameters = field(default_factory=dict, repr=False)
    required: tuple[str, ...] = field(default=(), repr=False)
    """The parameters that a config must set."""
    multiple: int = field(default=1, repr=False)
    """Height and width of an image must be multiples of this."""
    channels: int | None = field(default=None, repr=False)
    """The number of channels that an image must have; None allows any number."""
    reconstructions: tuple[str, ...] = field(default=(), repr=False)
    """The reconstruction terms that its decoder's output fits; if empty, all of them."""
    packs: bool = field(default=False, repr=False)
    """Whether several runs may be trained as one stack (:mod:`hebae.training.stack`)."""
    autoregressive: bool = False
    """Whether the decoder gives each pixel's probability from the pixels before it. It then takes
    the image too, and images are drawn from it pixel by pixel."""
    megabytes: Callable[[Mapping[str, Any], int, int], float] = field(
        default=lambda parameters, batch_size, pixels: 0, repr=False
    )
    """Estimates the memory of the networks and of what they keep of a batch for the gradient. Its
    arguments are their parameters, the batch size and the number of values of an image. It gives 0
    where the memory is small."""

    @property
    def batch_norms(self) -> tuple[str | None, ...]:
        """The kinds of batch normalisation that it can have; None alone if it has none."""
        return tuple(self.parameters.get("batch_norm", {}).get("enum", [None]))


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
                "description": "Width of a layer's window in pixels, odd (default 5).",
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
    """Whether it is −log p(x|z) in nats, so that it gives a bound on log p(x)."""
    binary: bool = False
    """Whether it makes images black and white."""
    parameters: Parameters = field(default_factory=dict, repr=False)


RECONSTRUCTIONS = {
    # cross entropy summed over pixels; grey values count as probabilities
    "bernoulli": ReconstructionEntry("hebae.models.reconstruction:bernoulli", likelihood=True),
    # the same for images made black and white
    "binary": ReconstructionEntry(
        "hebae.models.reconstruction:binary", likelihood=True, binary=True
    ),
    # −log density, for images in [0, 1]
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
                "description": "Whether the loss has the mean or the sum over pixels and channels.",
                "enum": ["mean", "sum"],
            },
            "factor": {"description": "The loss has this times the mean or the sum.", **POSITIVE},
        },
    ),
}


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset, and the facts about it that are needed to check a config.

    ``n_train`` and ``n_test`` are None if they depend on the user's files. ``n_classes`` has the
    number of values of each label, and is empty for a dataset without labels.
    """

    function: str
    image_shape: tuple[int, int, int]
    n_train: int | None
    n_test: int | None
    n_classes: tuple[int, ...]
    raw: tuple[str, ...] = ()
    """The names of its raw files and folders, in ``data_dir`` or in the folder there with the
    dataset's name. If their content changes, it is another dataset."""
    look: str | None = None
    """The function ``look(data_dir)``, which finds raw files that ``raw`` cannot name
    (:mod:`hebae.data.found`).
    """
    redistributable: bool = True
    """Whether the images, and reconstructions and samples made from them, may be passed on."""


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
    """A network whose features are used to compare images (Fréchet distance)."""

    function: str
    weights: str | None = None
    """The name of a file of weights that is downloaded, unless it is in the folder of raw data or
    in :attr:`folder` there."""
    folder: str | None = None
    trained: bool = False
    """Whether the network is trained here, on the dataset's own images."""
    needs_labels: bool = False
    needs_squares: bool = False
    """It needs images as high as wide."""
    needs_proof: bool = False
    """Nothing is measured in them unless their distance grows with distortions of real images
    (:mod:`hebae.measures.fid.distortions`)."""


FEATURES = {
    "inception": FeaturesEntry(
        "hebae.measures.fid.features.inception:load",
        weights="pt_inception-2015-12-05-6726825d.pth",
        folder="inception",
    ),
    "classifier": FeaturesEntry(
        "hebae.measures.fid.features.classifier:load", trained=True, needs_labels=True
    ),
    "rotation": FeaturesEntry(
        "hebae.measures.fid.features.rotation:load",
        trained=True,
        needs_squares=True,
        needs_proof=True,
    ),
}

TRAINED_FEATURES = [name for name, entry in FEATURES.items() if entry.trained]


@dataclass(frozen=True)
class MeasureEntry:
    """A measure of trained runs. Each of its rows belongs to one run; its table has its name."""

    runs: str = "default_runs"
    """The method of ``Experiment`` that lists the measured runs."""
    rows: str | None = None
    """A function of a posterior alone: ``rows(posterior, run, threads, **protocol)``. One job takes
    all such measures (:mod:`hebae.measures.measure`). A measure without it has its own rule."""
    protocol: str | None = None
    """The field of a dataset's config that holds the keyword arguments of `rows`."""


MEASURES = {
    "fid": MeasureEntry("fid_runs"),
    "smoothness": MeasureEntry("smoothness_runs"),
    "covariance": MeasureEntry(rows="hebae.measures.covariance:rows"),
    "active_units": MeasureEntry(rows="hebae.measures.active_units:rows"),
    "mutual_information": MeasureEntry(
        rows="hebae.measures.mutual_information:rows", protocol="mutual_information"
    ),
    "diagnostics": MeasureEntry("diagnostics_runs"),
    "index_code_information": MeasureEntry(rows="hebae.measures.index_code_information:rows"),
    "identities": MeasureEntry(rows="hebae.measures.identities:rows"),
    "bounds": MeasureEntry("bounds_runs"),
    "stability": MeasureEntry("stability_runs"),
}


@dataclass(frozen=True)
class FigureEntry:
    """A figure: its name in the report, its tables, and what it needs of a dataset."""

    title: str
    shows: str
    group: str
    """The group in which the report lists it, in the order of :data:`FIGURES`."""
    tables: tuple[str, ...] = ()
    draws: str | None = None
    """The function that draws it. None: ``draw`` of the module with the figure's name."""
    needs_bound: bool = False
    needs_fid: bool = False
    needs_images: bool = False
    needs_distortions: bool = False
    """It shows distances of distorted real images."""
    needs_diagnostics: bool = False
    needs_likelihood: bool = False
    """It needs a model with a likelihood, so that log p(x) is bounded."""
    needs_covariance: bool = False
    """It needs a model whose regulariser uses the covariance of a batch."""
    needs_stability: bool = False
    needs_batch_sizes: bool = False
    """It needs models that are the same but for the batch size."""
    needs_noises: bool = False
    """It needs models that differ in their noise alone, and in their divergence alone."""


PAPER, INFOVAE, BOUNDS = "Figures of the paper", "InfoVAE", "Fair bounds"
TRAININGS = "Training"
SAMPLES = "Priors and decoders"
REASONS = "Noise or divergence"

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
        draws="hebae.figures.image_panels:draw",
        needs_images=True,
    ),
    "appendix_c": FigureEntry(
        "Figure of Appendix C",
        "interpolations, reconstructions and samples",
        PAPER,
        draws="hebae.figures.image_panels:draw",
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
    "bounds_by_epoch": FigureEntry(
        "Bounds by epoch",
        "which bounds settle, and HEBAE’s noise",
        BOUNDS,
        ("elbo_by_epoch",),
        needs_likelihood=True,
    ),
    "batch_bias": FigureEntry(
        "Batch bias", "what codes that match the prior score", BOUNDS, needs_covariance=True
    ),
    "identities": FigureEntry(
        "Identities",
        "what holds exactly of Theorem 1 and Eqs. 5 to 11",
        BOUNDS,
        ("identities",),
    ),
    "stability": FigureEntry(
        "Stability",
        "learning rates and initial weights at which training fails",
        TRAININGS,
        ("stability",),
        needs_stability=True,
    ),
    "batch_size": FigureEntry(
        "Batch size",
        "what a model reaches against the batch size",
        TRAININGS,
        ("elbo_by_weight", "covariance", "mutual_information"),
        needs_batch_sizes=True,
    ),
    "sampling": FigureEntry(
        "Where the distance comes from",
        "Fréchet distance of samples, fits, midpoints and reconstructions",
        SAMPLES,
        ("fid",),
        needs_fid=True,
    ),
    "distorted_images": FigureEntry(
        "Distorted images",
        "Fréchet distance of real images against how far they are distorted",
        SAMPLES,
        needs_fid=True,
        needs_distortions=True,
    ),
    "decoder_smoothness": FigureEntry(
        "Smoothness", "how fast the decoder changes with the code", SAMPLES, ("smoothness",)
    ),
    "ablation": FigureEntry(
        "Noise or divergence",
        "each noise of the codes with each divergence from the prior",
        REASONS,
        ("bounds", "elbo_by_weight", "covariance", "fid"),
        needs_fid=True,
        needs_likelihood=True,
        needs_noises=True,
    ),
}


def distortions_of(dataset: str) -> str:
    """The table of a dataset's distorted images, below ``results/<experiment>``."""
    return f"features/{dataset}/distortions.csv"


def drawn_by(figure: str) -> str:
    """The ``module:function`` that draws a figure."""
    return FIGURES[figure].draws or f"hebae.figures.{figure}:draw"


def captioned_by(figure: str) -> str:
    """The ``module:function`` that writes its caption: in ``facts``, beside the one that draws."""
    module = drawn_by(figure).partition(":")[0].rpartition(".")[2]
    return f"hebae.facts.{module}:caption"


def lookup(table: Mapping[str, Any], kind: str, name: str, where: str = "") -> Any:
    """The entry of a registry. Raises UserError, at `where`, with the known names."""
    if name not in table:
        at = f"{where}: " if where else ""
        raise UserError(f"{at}unknown {kind} {name!r}; there are: {', '.join(table)}")
    return table[name]


def resolve(entry: str) -> Callable[..., Any]:
    """Import the function that a ``module:function`` entry names."""
    return pkgutil.resolve_name(entry)
