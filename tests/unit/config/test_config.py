"""Configs: what is wrong is said in one line; what is right becomes runs."""

import copy
import dataclasses
import inspect
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from hebae.base.errors import UserError
from hebae.config import registry
from hebae.config.checks import check_prepared
from hebae.config.experiment import Execution, Experiment, Word
from hebae.config.implemented import check_implemented
from hebae.config.parse import parse
from hebae.config.run import Run, weight_text
from hebae.config.schema import check_schema

ROOT = Path(__file__).parents[3]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
DEMO = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
DIVERGENCES = "datasets.digits-divergences"
DECODERS = "datasets.digits-decoders"
INFOVAE = f"{DIVERGENCES}.models.InfoVAE"


def edited(path: str, value):
    """The demo with one key set, or deleted where the value is ``...``."""
    document = copy.deepcopy(DEMO)
    *parents, last = path.split(".")
    inner = document
    for key in parents:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return document


def experiment_of(document) -> Experiment:
    return parse(document, SCHEMA).experiment


CONFIGS = sorted(set((ROOT / "config").glob("*.yaml")) - {ROOT / "config/claims.yaml"})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_the_configs_we_ship_are_right(path):
    experiment = experiment_of(yaml.safe_load(path.read_text()))
    assert Experiment.from_json(experiment.to_json()) == experiment
    paths = [run.path for run in experiment.runs()]
    assert len(paths) == len(set(paths)) > 0
    for run in experiment.runs():
        assert Run.from_json(run.to_json()) == run


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("models.VAE.objective", "vaee", "unknown objective 'vaee'; there are: vae, "),
        ("models.VAE.reparameterisation", "diagonal", "'vae' has no parameter"),
        ("models.HEBAE.reparameterisation", "square", "models.HEBAE.reparameterisation: 'square'"),
        (
            "models.VAE.beta",
            4,
            "models.VAE: objective 'vae' has no parameter 'beta'; it has: log_variance",
        ),
        ("models.V E", {"objective": "vae"}, "'V E' does not match"),
        ("datasets.cifar", DEMO["datasets"]["digits"], "unknown dataset 'cifar'; there are: dig"),
        ("datasets.digits.network.name", "conv", "unknown network 'conv'"),
        ("datasets.digits.reconstruction", {"name": "l3"}, "unknown reconstruction 'l3'"),
        (
            "datasets.digits.reconstruction",
            {"name": "bernoulli", "factor": 2},
            "datasets.digits.reconstruction: 'bernoulli' has no parameter 'factor'; it has: none",
        ),
        (
            "datasets.digits.models.VAE.reconstruction",
            {"name": "squared_error", "reduction": "median"},
            "'median' is not one of ['mean', 'sum']",
        ),
        (
            "datasets.digits.network",
            {"name": "convolutional"},
            "'convolutional' needs images whose sides are multiples of 16, not 8×8",
        ),
        (
            "datasets.digits.network",
            {"name": "dense", "encoder_widths": [64]},
            "digits.network: 'dense' needs 'decoder_widths'",
        ),
        ("datasets.digits.network.width", 0.5, "'dense' has no parameter 'width'"),
        (
            "datasets.digits.training.learning_rate_steps",
            [[30, 2], [20, 5]],
            "models.VAE.training.learning_rate_steps: epochs must increase, not [30, 20]",
        ),
        ("datasets.digits.training.learning_rate_steps", [[30]], "[30] is too short"),
        ("datasets.digits.training.batch_size", 1298, "1298 is more than the 1297 training"),
        (
            "datasets.digits.models.VAE.training",
            {"batch_size": 1298},
            "digits.models.VAE.training.batch_size: 1298 is more than the 1297 training",
        ),
        (
            "datasets.digits.panels",
            {"interpolations": [[0, 500]], "end_points": "image"},
            "there is no test image 500; test images are 0 to 499",
        ),
        ("datasets.digits.panels", {"interpolations": [[0, 10]]}, "there is no class 10"),
        (
            "datasets.digits.fid",
            {"features": "inception", "n_generated": 100, "n_reference": 501},
            "fid.n_reference: 501 is more than the 500 images of the test split",
        ),
        (
            "datasets.digits.fid",
            {"features": "vgg", "n_generated": 100, "n_reference": 100},
            "unknown features 'vgg'; there are: inception, classifier, rotation",
        ),
        ("figures.fig1b", "digits-decoders", "figures.fig1b: 'digits-decoders' has no fid block"),
        (
            "datasets.digits.models.GAN",
            {"weight": 1},
            "digits.models: unknown model 'GAN'; there are: VAE",
        ),
        ("datasets.digits.models.VAE.weight", -1, "VAE.weight: -1 is less than the minimum"),
        ("datasets.digits.models.VAE.weights", [1, -0.5], "weights.1: -0.5 is less than"),
        ("datasets.digits.models.VAE.weights", [1, 0], "weights.1: 0 is less than"),
        ("datasets.digits.models.VAE.weight", "1e-3", "write 0.001"),
        (
            "datasets.digits.latent_dims",
            [8, 128],
            "latent_dim 128 needs more than 128 batch_size, not 128",
        ),
        ("datasets.digits.latent_dims", [], "latent_dims"),
        ("datasets.digits.latent_dims", [0], "latent_dims.0: 0 is less than the minimum of 1"),
        ("datasets.digits.latent_dims", [2.5], "2.5 is not of type 'integer'"),
        ("datasets.digits.main_latent_dim", 3, "main_latent_dim: 3 is not one of latent_dims"),
        ("datasets.digits.weight_latent_dims", [5], "weight_latent_dims: 5 is not one of"),
        (
            "datasets.digits.models.VAE.latent_dims",
            [8, 5],
            "models.VAE.latent_dims: 5 is not one of the dataset's (2, 8)",
        ),
        ("datasets.digits.models.VAE.latent_dims", [2], "(2,) lacks main_latent_dim 8"),
        ("datasets.digits.training.epochs", 0, "epochs: 0 is less than the minimum of 1"),
        ("datasets.digits.training.epochs", True, "True is not of type 'integer'"),
        ("datasets.digits.training.epoch", 3, "'epoch' was unexpected); known here: epochs"),
        ("datasets.digits.training", ..., "'training' is a required property"),
        (
            "models.InfoVAE-Stein.divergence.name",
            "kl",
            "models.InfoVAE-Stein.divergence: unknown divergence 'kl'; there are: mmd, adversarial",
        ),
        (
            "models.InfoVAE.divergence",
            {"name": "mmd", "kernel": "rbf"},
            "models.InfoVAE.divergence.kernel: 'rbf' is not one of ['imq', 'gaussian']",
        ),
        (
            "models.InfoVAE.divergence",
            {"name": "stein", "kernel": "imq"},
            "models.InfoVAE.divergence: 'stein' has no parameter 'kernel'; it has: none",
        ),
        (
            "models.InfoVAE.divergence",
            {"name": "mmd", "widths": [64]},
            "'mmd' has no parameter 'widths'; it has: kernel, prior_variance, scales",
        ),
        ("models.InfoVAE.divergence", {"kernel": "imq"}, "'name' is a required property"),
        ("models.InfoVAE.alpha", 1.5, "alpha: 1.5 is greater than the maximum of 1"),
        ("models.VAE.alpha", 1, "objective 'vae' has no parameter 'alpha'; it has: log_variance"),
        ("models.VAE.divergence", {"name": "mmd"}, "'vae' has no parameter 'divergence'"),
        (
            "models.GAN",
            {"objective": "wae_gan", "divergence": {"name": "mmd"}},
            "models.GAN.divergence: objective 'wae_gan' takes adversarial, not 'mmd'",
        ),
        (f"{INFOVAE}.weight", 0, "InfoVAE.weight: objective 'infovae' needs a λ above 0, not 0"),
        (f"{INFOVAE}.weight", -3, "InfoVAE.weight: -3 is less than the minimum of 0"),
        (f"{INFOVAE}.weights", [1, 0], "weights.1: 0 is less than or equal to the minimum of 0"),
        (
            f"{INFOVAE}",
            {"weight": 10, "weights": [0.5, 0.2], "parameters": {"alpha": 0.5}},
            "InfoVAE.weights: α + λ − 1 must not be below 0, but is 0.5 + 0.2 − 1",
        ),
        (
            f"{INFOVAE}.parameters",
            {"divergence": {"name": "mdd"}},
            "unknown divergence 'mdd'",
        ),
        (
            "datasets.digits.reconstruction",
            {"name": "gaussian", "variance": "0.1"},
            "config: datasets.digits.reconstruction.variance: '0.1' is not of type 'number'; write",
        ),
        (
            "datasets.digits.models.HEBAE.parameters",
            {"reparameterisation": "square"},
            "config: datasets.digits.models.HEBAE.parameters.reparameterisation: 'square' is not",
        ),
        (
            f"{DECODERS}.network",
            {"name": "pixelcnn", "encoder_widths": [9]},
            "digits-decoders.network: 'pixelcnn' needs 'decoder_widths'",
        ),
        (
            f"{DECODERS}.reconstruction",
            {"name": "bernoulli"},
            "models.VAE-AR.network: the decoder of 'pixelcnn' needs the reconstruction binary, "
            "not 'bernoulli'",
        ),
        (
            "datasets.toyfaces.models.VAE.network",
            DEMO["datasets"]["digits-decoders"]["models"]["VAE-AR"]["network"],
            "toyfaces.models.VAE.network: 'pixelcnn' is for images of 1 channel, not 3",
        ),
        (f"{DECODERS}.models.VAE-AR.network.kernel", 4, "kernel: 4 is not one of [3, 5, 7, 9, 11]"),
        (f"{DECODERS}.source", "digit", "digits-decoders: unknown dataset 'digit'; there are: dig"),
        (f"{DECODERS}.source", ..., "a label of your own needs the key source, with one of these"),
        (
            f"{DECODERS}.fid",
            {"features": "classifier", "n_generated": 100, "n_reference": 100},
            "digits-decoders.fid: VAE makes black and white images",
        ),
        (f"{DIVERGENCES}.reconstruction.variance", 0, "variance: 0 is less than or equal to"),
        (f"{DIVERGENCES}.diagnostics.kernel", "rbf", "kernel: 'rbf' is not one of"),
        (
            f"{DIVERGENCES}.diagnostics.training_sizes",
            [50, 1297],
            "diagnostics.training_sizes: 1297 is not below the 1297 training images",
        ),
        ("figures.infovae_diagnostics", "digits", "'digits' has no diagnostics block"),
        (
            "datasets.digits.bounds.samples",
            [1, 4, 10],
            "bounds.samples: 4 does not divide the largest, 10, whose codes are used for all",
        ),
        ("datasets.digits.bounds.samples", [10, 10], "non-unique"),
        ("datasets.digits.bounds.samples", [0, 10], "samples.0: 0 is less than the minimum of 1"),
        ("datasets.digits.bounds.samples", [], "bounds.samples"),
        ("datasets.digits.bounds.images", 0, "bounds.images: 0 is less than the minimum of 1"),
        ("datasets.digits.bounds.images", 451, "digits.bounds.images: 451 is more than 450; the"),
        (
            "figures.fair_bounds",
            "toyfaces",
            "figures.fair_bounds: no model of 'toyfaces' has a lik",
        ),
        (
            "figures.batch_bias",
            "digits-decoders",
            "'digits-decoders' has the covariance of a batch",
        ),
        ("figures.fig9", "digits", "unknown figure 'fig9'; there are: fig1a"),
        ("figures.fig1a", "mnist", "figures.fig1a: dataset 'mnist' is not in datasets"),
        ("seeds", [0, 0], "non-unique"),
        ("seeds", [-1], "seeds.0: -1 is less than"),
        ("seed", 3, "'seed' was unexpected"),
        ("experiment", "../elsewhere", "experiment: '../elsewhere' does not match"),
        ("device", "tpu", "device: 'tpu' is not one of"),
        ("runs", "download", "runs: 'download' is not one of ['train', 'restore']"),
        ("experiment", ..., "'experiment' is a required property"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(path, value, message):
    with pytest.raises(UserError) as error:
        parse(edited(path, value), SCHEMA)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_covariance_needs_more_images_than_dimensions_on_subsets_too():
    document = edited(f"{DIVERGENCES}.models.HEBAE", {"weight": 1})
    document["datasets"]["digits-divergences"]["diagnostics"]["training_sizes"] = [7, 50]
    message = "batches of 128 out of 7 images are too small for the covariance of HEBAE in 2 dim"
    with pytest.raises(UserError, match=message):
        parse(document, SCHEMA)
    document["datasets"]["digits-divergences"]["diagnostics"]["training_sizes"] = [8, 50]
    parse(document, SCHEMA)


def test_alpha_and_lambda_may_just_cancel():
    parse(edited(INFOVAE, {"weight": 0.5, "parameters": {"alpha": 0.5}}), SCHEMA)
    parse(edited(INFOVAE, {"weight": 1e-9}), SCHEMA)
    assert -0.13 + 1.13 - 1 < 0  # in floating point
    parse(edited(INFOVAE, {"weight": 1.13, "parameters": {"alpha": -0.13}}), SCHEMA)


def test_the_runs_of_diagnostics():
    """Default runs, then the small training sets, at the main latent dimension alone."""
    experiment = experiment_of(DEMO)
    data = experiment.datasets["digits-divergences"]
    found = [(run.model, run.latent_dim, run.n_train) for run in experiment.diagnostics_runs()]
    models = ["VAE", "InfoVAE", "InfoVAE-adversarial", "InfoVAE-Stein"]
    assert found == [(model, d, None) for model in models for d in (2, 8)] + [
        (model, 2, size) for model in models for size in (50, 250)
    ]
    assert data.source == "digits"
    paths = [run.path for run in experiment.diagnostics_runs()]
    assert "digits-divergences/VAE/z2/w1/n50/s0" in paths and len(set(paths)) == len(paths)
    # and nowhere else
    assert all(run.n_train is None for run in experiment.runs())


def test_the_runs_of_bounds():
    """Default runs with a likelihood, those of a deterministic encoder among them."""
    experiment = experiment_of(DEMO)
    runs = list(experiment.bounds_runs())
    found = {(run.dataset, run.model) for run in runs}
    decoders = {("digits-decoders", name) for name in ("VAE", "InfoVAE", "VAE-AR", "InfoVAE-AR")}
    assert decoders < found and ("digits", "HEBAE-diagonal") in found
    assert not {run.dataset for run in runs} & {"toyfaces"}  # squared errors
    assert ("digits", "WAE") in found
    kept = [run.path for run in experiment.default_runs() if (run.dataset, run.model) in found]
    assert [run.path for run in runs] == kept
    bounds = experiment.datasets["digits-decoders"].bounds
    assert (bounds.samples, bounds.images) == ((1, 10, 100), 50)
    bounds = experiment_of(edited("datasets.digits.bounds", ...)).datasets["digits"].bounds
    assert (bounds.samples, bounds.images) == ((1, 10, 100, 1000), None)
    parse(edited("datasets.digits.bounds", {"images": None}), SCHEMA)


def test_models_have_a_divergence_and_a_network_of_their_own():
    experiment = experiment_of(DEMO)
    runs = {run.model: run for run in experiment.main_runs("digits-decoders")}
    assert [run.network for run in runs.values()] == ["dense", "dense", "pixelcnn", "pixelcnn"]
    assert runs["VAE-AR"].training.precision == "auto"
    assert runs["InfoVAE-AR"].parameters == {"divergence": {"name": "mmd"}}
    assert runs["InfoVAE"].modules[-1] == "hebae.models.divergences.mmd"
    document = edited(f"{INFOVAE}.parameters", {"divergence": {"name": "stein"}, "alpha": 0})
    run = experiment_of(document).run("digits-divergences", "InfoVAE", 2, 1000.0, 0)
    assert run.parameters == {"divergence": {"name": "stein"}, "alpha": 0}


@pytest.mark.parametrize("document", [None, [], "text", 3, {}])
def test_documents_that_are_no_config(document):
    with pytest.raises(UserError, match="top level"):
        parse(document, SCHEMA)


def test_large_codes_are_only_an_error_where_a_batch_covariance_is_needed():
    document = edited("datasets.digits.latent_dims", [8, 128])
    document["datasets"]["digits"]["models"] = {"VAE": {"weight": 1}, "WAE": {"weight": 10}}
    del document["figures"]["batch_bias"]  # a figure of such batches
    assert experiment_of(document).datasets["digits"].latent_dims == (8, 128)


def test_the_mnist_protocol_is_the_papers():
    """App. B.1, and the choices docs/paper.md states where the text lost a number."""
    data = experiment_of(yaml.safe_load((ROOT / "config/mnist.yaml").read_text())).datasets["mnist"]
    (training,) = {model.training for model in data.models.values()}
    assert (training.epochs, training.batch_size) == (100, 128)
    assert (training.learning_rate, training.learning_rate_decay) == (0.001, 0.995)
    assert data.latent_dims == (8, 10, 16) and data.main_latent_dim == 10
    widths = {"encoder_widths": [784, 800], "decoder_widths": [800, 800]}
    assert all(model.network_parameters == widths for model in data.models.values())
    for model in ("VAE", "HEBAE"):
        assert data.models[model].default == 1
        assert data.models[model].grid == (0.1, 0.5, 1, 2, 5, 10, 20)
    assert data.models["WAE"].default == 10


def test_the_faces_protocol_is_the_papers():
    """App. B.2; the WAE's numbers and the frozen normalisation are the released code's."""
    config = yaml.safe_load((ROOT / "config/celeba.yaml").read_text())
    data = experiment_of(config).datasets["celeba"]
    network = {"width": 1, "batch_norm": "frozen"}
    assert all(model.network_parameters == network for model in data.models.values())
    assert data.latent_dims == (64,)
    for name, model in data.models.items():
        training = model.training
        assert (training.epochs, training.batch_size) == (100, 100)
        assert training.learning_rate_steps == ((30, 2), (50, 5), (70, 10))
        wae = name == "WAE"
        assert training.learning_rate == (0.001 if wae else 0.0001)
        assert training.adam_beta1 == (0.5 if wae else 0.9)
        assert model.default == (100 if wae else 0.001)
        assert model.parameters == ({"prior_variance": 2} if wae else {})
        assert model.reconstruction_parameters == (
            {"reduction": "sum", "factor": 0.05} if wae else {"reduction": "mean", "factor": 1}
        )
    assert (data.fid.features, data.fid.n_generated) == ("inception", 10_000)


def test_a_grid_of_weights_has_samples_of_the_prior_alone():
    made = experiment_of(yaml.safe_load((ROOT / "config/celeba.yaml").read_text()))
    data = made.datasets["celeba"]
    kinds = SCHEMA["$defs"]["dataset"]["properties"]["fid"]["properties"]["samplings"]
    assert data.fid.samplings == tuple(kinds["default"]) == tuple(kinds["items"]["enum"])
    taken = {run.path: made.fid_of(run) for run in made.fid_runs()}
    for run in made.fid_runs():
        at_default = run.lam == data.models[run.model].default
        assert taken[run.path].samplings == (data.fid.samplings if at_default else ())
        assert taken[run.path].real == data.fid.real
    assert {bool(protocol.samplings) for protocol in taken.values()} == {True, False}


def test_the_paper_is_its_two_halves():
    paper, mnist, celeba = (
        yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
        for name in ("paper", "mnist", "celeba")
    )
    assert paper["seeds"] == mnist["seeds"] == celeba["seeds"]
    assert paper["models"] == mnist["models"] == celeba["models"]
    for part in ("datasets", "figures"):
        assert paper[part] == mnist[part] | celeba[part]


def test_a_model_may_be_another_on_one_dataset():
    document = edited("datasets.digits.models.HEBAE.parameters", {"reparameterisation": "diagonal"})
    document["datasets"]["digits"]["models"]["HEBAE"]["training"] = {"epochs": 7}
    runs = {run.model: run for run in experiment_of(document).runs() if run.dataset == "digits"}
    assert runs["HEBAE"].parameters == runs["HEBAE-diagonal"].parameters
    assert runs["VAE"].training.epochs == 40 and runs["HEBAE"].training.epochs == 7
    assert runs["HEBAE"].training.batch_size == runs["VAE"].training.batch_size
    with pytest.raises(UserError, match="'vae' has no parameter 'scales'"):
        parse(edited("datasets.digits.models.VAE.parameters", {"scales": [1]}), SCHEMA)


def test_panels_matter_only_where_they_are_drawn():
    document = edited("datasets.toyfaces.panels", ...)
    with pytest.raises(UserError, match="no class 7; classes are 0 to 3; or use end_points: image"):
        parse(document, SCHEMA)
    del document["figures"]["fig3"]
    parse(document, SCHEMA)


def test_only_datasets_that_ask_for_it_have_a_distance():
    experiment = experiment_of(DEMO)
    runs = list(experiment.fid_runs())
    assert "fid" not in DEMO["datasets"]["toyfaces"]
    assert {run.dataset for run in runs} == {"digits"}
    assert runs == [run for run in experiment.runs() if run.dataset == "digits"]


def test_runs_are_the_grids():
    experiment = experiment_of(edited("datasets.digits.weight_seeds", [1, 2]))
    data = experiment.datasets["digits"]
    default = [run for run in experiment.default_runs() if run.dataset == "digits"]
    of_models = [model.latent_dims or data.latent_dims for model in data.models.values()]
    assert {dims for dims in of_models} == {(2, 8), (8,)}
    assert len(default) == sum(map(len, of_models)) * len(data.seeds)
    grid = [run for run in experiment.weight_runs() if run.dataset == "digits"]
    with_grid = [model for model in data.models.values() if model.grid]
    assert len(grid) == sum(len(model.grid) for model in with_grid) * len(
        data.weight_latent_dims
    ) * len(data.weight_seeds)
    runs = [run for run in experiment.runs() if run.dataset == "digits"]
    assert {run.path for run in runs} == {run.path for run in default + grid}
    assert [run.seed for run in experiment.main_runs("digits")] == [0] * len(data.models)


def test_a_model_may_be_trained_at_some_latent_dimensions_alone():
    document = edited("datasets.digits.models.VAE.latent_dims", [8])
    document["datasets"]["digits"]["weight_latent_dims"] = [2, 8]
    experiment = experiment_of(document)
    assert Experiment.from_json(experiment.to_json()) == experiment
    for runs in (experiment.default_runs(), experiment.weight_runs()):
        dims = {(run.model, run.latent_dim) for run in runs if run.dataset == "digits"}
        assert {z for model, z in dims if model == "VAE"} == {8}
        assert len({z for model, z in dims if model == "HEBAE"}) > 1


def test_dataset_seeds_override_the_experiments():
    data = experiment_of(edited("datasets.digits.seeds", [7])).datasets["digits"]
    assert data.seeds == data.weight_seeds == (7,)


@pytest.mark.parametrize(
    ("weight", "text"),
    [(1, "1"), (1.0, "1"), (0.1, "0.1"), (1e-5, "1e-05"), (20, "20"), (-0.0, "0")],
)
def test_weights_as_they_stand_in_paths(weight, text):
    assert weight_text(weight) == text
    assert float(text) == weight


def test_every_entry_of_the_registries_can_be_resolved():
    entries = [objective.function for objective in registry.OBJECTIVES.values()]
    for table in ("NETWORKS", "RECONSTRUCTIONS", "DATASETS", "FEATURES"):
        entries += [entry.function for entry in getattr(registry, table).values()]
    entries += [entry.look for entry in registry.DATASETS.values() if entry.look]
    for entry in entries:
        assert registry.resolve(entry) is not None


def test_the_registry_knows_the_datasets():
    for name in ("digits", "toyfaces"):  # those that come with the package
        entry = registry.DATASETS[name]
        arrays = registry.resolve(entry.function)(Path())
        assert (entry.n_train, entry.n_test) == (len(arrays.train_images), len(arrays.test_images))
        assert entry.image_shape == arrays.train_images.shape[1:]
        assert entry.n_classes == tuple(arrays.test_labels.max(0) + 1)
    mnist = registry.DATASETS["mnist"]
    assert (mnist.n_train, mnist.n_test, mnist.n_classes) == (60_000, 10_000, (10,))


@pytest.mark.parametrize(
    ("objective", "bound", "stochastic"),
    [
        ("vae", True, True),
        ("hebae", True, True),
        ("wae_mmd", False, False),
        ("wae_gan", False, False),
        ("infovae", False, True),
        ("annealed_vae", True, True),
        ("no_noise", True, False),
        ("free_noise", True, True),
        ("batch_noise", True, True),
        ("fixed_noise", True, True),
    ],
)
def test_objectives_say_what_they_are(objective, bound, stochastic):
    """A wrong registry entry would fill or empty the bounds in a table."""
    entry = registry.OBJECTIVES[objective]
    assert (entry.bound, entry.stochastic) == (bound, stochastic)


def test_what_an_objective_is_made_of():
    """The twins of each other have the same noise and divergence (tests/unit/models/test_noise)."""
    entries = registry.OBJECTIVES
    noises = {name: entries[name].noise for name in entries}
    for twin, name in (("vae", "free_noise"), ("hebae", "batch_noise"), ("wae_mmd", "no_noise"),
                       ("infovae", "free_noise")):  # fmt: skip
        assert noises[twin] == noises[name]
    assert noises["fixed_noise"] == "fixed" and set(noises.values()) == set(registry.NOISES)
    for entry in entries.values():
        assert not (entry.charges and entry.divergences)
        assert entry.charges is None or entry.charges in registry.DIVERGENCES
    assert set(registry.COMPARED) <= set(registry.DIVERGENCES)


def test_a_warm_up_can_be_set():
    document = edited("models.VAE", {"objective": "annealed_vae", "warm_up": 0.25})
    (run,) = (run for run in experiment_of(document).main_runs("digits") if run.model == "VAE")
    assert run.parameters == {"warm_up": 0.25}


def parameters_of_entries():
    """Function, and what a config may and must set of it, of every entry that has parameters."""
    for table in ("OBJECTIVES", "DIVERGENCES", "NETWORKS", "RECONSTRUCTIONS"):
        for name, entry in getattr(registry, table).items():
            required = getattr(entry, "required", ())
            yield f"{table} {name}", entry.function, entry.parameters, required
            if adversary := getattr(entry, "adversary", None):
                yield f"{table} {name}'s", adversary, entry.adversary_parameters, ()


@pytest.mark.parametrize(
    ("function", "parameters", "required"),
    [pytest.param(*rest, id=name) for name, *rest in parameters_of_entries()],
)
def test_parameters_are_the_functions_and_have_a_schema(function, parameters, required):
    """The rest have their default there, and what has one is what a config may set."""
    signature = inspect.signature(registry.resolve(function)).parameters
    own = {name for name, own in signature.items() if own.kind is inspect.Parameter.KEYWORD_ONLY}
    optional = {name for name in own if signature[name].default is not inspect.Parameter.empty}
    assert optional - {"check"} == set(parameters) - set(required)
    for name, schema in parameters.items():
        assert (signature[name].default is inspect.Parameter.empty) == (name in required)
        assert schema["description"]
        jsonschema.Draft202012Validator.check_schema(schema)
    assert set(required) <= set(parameters)


def test_what_a_parameter_may_be_makes_no_other_run():
    """The workflow trains again where the text of a run's entries changes."""
    entry = registry.OBJECTIVES["hebae"]
    other = dataclasses.replace(entry, parameters={"reparameterisation": {"enum": ["x"]}})
    assert repr(other) == repr(entry)
    assert repr(dataclasses.replace(entry, bound=False)) != repr(entry)


def test_a_model_is_a_registry_line_and_a_config_block(monkeypatch):
    strength = {"description": "Of the penalty.", "type": "number", "minimum": 0}
    entry = registry.ObjectiveEntry("elsewhere:penalty", parameters={"strength": strength})
    monkeypatch.setitem(registry.OBJECTIVES, "penalised", entry)
    document = edited("models.Mine", {"objective": "penalised", "strength": 0.5})
    document["datasets"]["digits"]["models"]["Mine"] = {"weight": 1}
    (run,) = (run for run in experiment_of(document).main_runs("digits") if run.model == "Mine")
    assert run.parameters == {"strength": 0.5} and run.modules[0] == "elsewhere"
    document["models"]["Mine"]["strength"] = -1
    with pytest.raises(UserError) as error:
        parse(document, SCHEMA)
    assert str(error.value) == "config: models.Mine.strength: -1 is less than the minimum of 0"


def test_a_dataset_is_a_registry_line_and_a_config_block(monkeypatch):
    entry = registry.DatasetEntry("elsewhere:load", (8, 8, 1), None, None, (10,))
    monkeypatch.setitem(registry.DATASETS, "mine", entry)
    document = edited("datasets.mine", DEMO["datasets"]["digits"])
    assert experiment_of(document).datasets["mine"].source == "mine"


def test_how_an_experiment_is_made_is_no_part_of_it():
    made = {"device": "cpu", "data_dir": "/x", "replace": True, "pack": 4, "figure_width": 3.3}
    there, here = parse(DEMO, SCHEMA), parse(DEMO | made, SCHEMA)
    assert there.experiment.to_json() == here.experiment.to_json()
    assert here.execution == Execution("/x", "cpu", Word.REPLACE, 4, 3.3)
    assert there.execution == Execution("data", "auto", Word.ASK, DEMO["pack"], 6.9)


def test_what_is_said_of_finished_runs_is_one_thing():
    assert parse(DEMO | {"keep": True}, SCHEMA).execution.word is Word.KEEP
    assert parse(DEMO | {"runs": "restore"}, SCHEMA).execution.word is Word.RESTORE
    with pytest.raises(UserError) as error:
        parse(DEMO | {"keep": True, "replace": True}, SCHEMA)
    message = "config: keep: true and replace: true contradict each other; leave one out"
    assert str(error.value) == message


def test_the_order_of_keys_is_no_other_run():
    document = edited("seeds", [0])
    network = document["datasets"]["digits"]["network"]
    document["datasets"]["digits"]["network"] = dict(reversed(network.items()))
    swapped = experiment_of(document).runs()
    assert swapped[0].to_json() == experiment_of(DEMO).runs()[0].to_json()


def places(schema, path=()):
    """Where a config may have an integer or a number: the keys, and what may stand there."""
    if reference := schema.get("$ref"):
        target = SCHEMA
        for key in reference.split("/")[1:]:
            target = target[key]
        schema = {**target, **schema}
        del schema["$ref"]
    kinds = schema.get("type", ())
    if {"integer", "number"} & set([kinds] if isinstance(kinds, str) else kinds):
        yield path, schema
    for key, inner in schema.get("properties", {}).items():
        yield from places(inner, (*path, key))
    other = schema.get("additionalProperties")
    if isinstance(other, dict):
        yield from places(other, (*path, "any"))
    for inner in filter(None, [schema.get("items"), *schema.get("prefixItems", [])]):
        yield from places(inner, (*path, 0))


PLACES = list(places(SCHEMA))
WRITTEN = ["2", "2.0", "1e-3", "1e-05", "0.5", "1e400", "-1", ".5", "nan", "true", "two", 2.0, 0.5]


@pytest.mark.parametrize(("path", "schema"), PLACES, ids=lambda v: ".".join(map(str, v))[:40])
def test_a_hint_that_is_followed_is_accepted(path, schema):
    """The value that a hint proposes is read as intended, and is valid."""
    own = schema
    for key in reversed(path):
        own = {"items": own} if key == 0 else {"properties": {key: own}}

    def complaint(value) -> str:
        for key in reversed(path):
            value = [value] if key == 0 else {key: value}
        try:
            check_schema(value, own, "config")
        except UserError as error:
            return str(error)
        return ""

    for value in WRITTEN:
        _, hinted, hint = complaint(value).partition("; write ")
        if hinted:
            assert complaint(yaml.safe_load(hint)) == ""
        elif value in ("2", "2.0"):  # then no hint would help
            assert complaint(2)


def test_places_of_numbers_are_found():
    assert {"epochs", "batch_size", "weight", "pack"} <= {path[-1] for path, _ in PLACES}
    assert len(PLACES) > 20


def test_hints():
    for value, hint in (("2", "; write 2"), ("2.0", "; write 2"), (2.0, "; write 2")):
        with pytest.raises(UserError) as error:
            parse(edited("datasets.digits.training.epochs", value), SCHEMA)
        assert str(error.value).endswith(hint)
    with pytest.raises(UserError, match="; write false"):
        parse(edited("replace", "False"), SCHEMA)
    with pytest.raises(UserError, match="of type 'integer'") as error:
        parse(edited("datasets.digits.training.epochs", 2.5), SCHEMA)
    assert "write" not in str(error.value)


def prepared(folder, label: str, name: str = "celeba", **numbers) -> None:
    (folder / "data" / label).mkdir(parents=True)
    manifest = {"name": name, "n_train": 100, "n_test": 30} | numbers
    (folder / "data" / label / "dataset.json").write_text(json.dumps(manifest))


CELEBA = {
    "network": {"name": "convolutional"},
    "reconstruction": {"name": "squared_error"},
    "latent_dims": [8],
    "training": {"epochs": 1, "batch_size": 20},
    "models": {"HEBAE": {"weight": 1}},
    "panels": {"interpolations": [[0, 29]], "end_points": "image"},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"mutual_information": {"indices": 31}}, "indices: 31 is more than the 30 test images"),
        (
            {"bounds": {"images": 28}, "reconstruction": {"name": "gaussian"}},
            "faces.bounds.images: 28 is more than 27; the width of q is chosen on 3 others of",
        ),
        ({"bounds": {"images": 31}}, None),  # of a mean square there are none
        ({"training": {"epochs": 1, "batch_size": 101}}, "101 is more than the 100 training"),
        (
            {"latent_dims": [2], "diagnostics": {"training_sizes": [100]}},
            "100 is not below the 100 training images",
        ),
        ({"latent_dims": [31], "training": {"epochs": 1, "batch_size": 90}}, "31 test images"),
        (
            {"panels": {"interpolations": [[0, 30]], "end_points": "image"}},
            "there is no test image 30; test images are 0 to 29",
        ),
    ],
)
def test_what_is_known_once_images_are_prepared(tmp_path, changes, message):
    document = edited("datasets.faces", {"source": "celeba", **CELEBA, **changes})
    document["figures"] = {"appendix_c": "faces"}
    experiment = experiment_of(document)
    check_prepared(experiment, tmp_path)  # nothing is there yet
    prepared(tmp_path, "faces")
    if message is None:
        return check_prepared(experiment, tmp_path)
    with pytest.raises(UserError) as error:
        check_prepared(experiment, tmp_path)
    assert message in str(error.value) and f"{tmp_path}/data" in str(error.value)
    # of other images, or damaged: nothing is known
    manifest = tmp_path / "data/faces/dataset.json"
    manifest.write_text(manifest.read_text().replace("celeba", "mine"))
    check_prepared(experiment, tmp_path)
    manifest.write_text("{")
    check_prepared(experiment, tmp_path)


def test_what_the_registry_names_is_looked_up(monkeypatch):
    experiment = experiment_of(DEMO)
    check_implemented(experiment)
    entry = registry.OBJECTIVES["vae"]
    for function, said in (
        ("hebae.models.objectives.vae:vea", "and hebae/models/objectives/vae.py has no vea"),
        ("hebae.models.vee:vae", "and there is no hebae/models/vee.py"),
    ):
        other = dataclasses.replace(entry, function=function)
        monkeypatch.setitem(registry.OBJECTIVES, "vae", other)
        with pytest.raises(UserError, match=f"objective 'vae' is {function}, {said}"):
            check_implemented(experiment)


def test_all_that_the_registry_names_is_there():
    for path in CONFIGS:
        check_implemented(experiment_of(yaml.safe_load(path.read_text())))
