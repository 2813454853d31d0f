"""The steps between training and figures: encoding, images, tables."""

import csv
import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.runs import BERNOULLI, changed
from tests.runs import trained as fit

from hebae.base.errors import UserError
from hebae.base.seeds import derive_seed
from hebae.codes import images
from hebae.config.fields import to_json
from hebae.config.parse import parse
from hebae.config.protocols import Panels
from hebae.config.run import Run
from hebae.data import digits
from hebae.data.prepare import write_prepared
from hebae.data.store import training_subset
from hebae.models.autoencoder import Autoencoder, load
from hebae.models.latent import normal_stream
from hebae.tables import collect
from hebae.tables.collect import TABLES, final_test_row
from hebae.training import train

ROOT = Path(__file__).parents[2]
RUN = changed(latent_dim=3, seed=0, epochs=3)
WAE = dataclasses.replace(RUN, objective="wae_mmd", model="WAE", lam=10.0)
VAE = dataclasses.replace(RUN, objective="vae", model="VAE")
PANELS = ("--protocol", to_json(Panels(((7, 3), (6, 9)), "class", 5, (2, 3))))


def step(module: str, *arguments) -> None:
    """Call a step as its command line does, in this process."""
    importlib.import_module(f"hebae.{module}").main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_prepared("digits", digits.load(Path()), folder)
    return folder


@pytest.fixture(scope="module", params=[RUN, WAE, VAE], ids=lambda run: run.model)
def trained(request, data, tmp_path_factory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp(request.param.model)
    step(
        "training.train", "--run", request.param.to_json(), "--data", data, "--output", folder,
        "--checkpoints", folder / "checkpoints", "--device", "cpu",
    )  # fmt: skip
    return request.param, folder


def inputs(folder: Path, data: Path) -> list:
    return ["--run", folder / "run.json", "--weights", folder / "weights.pt", "--data", data]


def test_posteriors_are_the_encoders(trained, data, tmp_path):
    run, folder = trained
    step("codes.encode", *inputs(folder, data), "--output", tmp_path / "posterior.npz")
    posterior = np.load(tmp_path / "posterior.npz")
    model = load(run, (8, 8, 1), folder / "weights.pt")
    test = torch.from_numpy(digits.load(Path()).test_images)
    mean, log_sigma = model.encode_images(test)
    assert all(posterior[name].dtype == np.float32 for name in ("mean", "sigma", "mixing"))
    np.testing.assert_allclose(posterior["mean"], mean, rtol=1e-4, atol=1e-5)
    if run.objective == "wae_mmd":
        assert not posterior["sigma"].any()
    else:
        np.testing.assert_allclose(posterior["sigma"], log_sigma.exp(), rtol=1e-4)
    mixing = posterior["mixing"].astype(np.float64)
    expected = np.cov(mean.double().numpy().T, ddof=0) if run.objective == "hebae" else np.eye(3)
    np.testing.assert_allclose(mixing @ mixing.T, expected, rtol=1e-3, atol=1e-4)


def test_images_are_what_the_networks_draw(trained, data, tmp_path):
    run, folder = trained
    output = tmp_path / "images.npz"
    step(
        "codes.images", *inputs(folder, data), "--output", output,
        *PANELS,
    )  # fmt: skip
    drawn = np.load(output)
    shapes = {name: drawn[name].shape for name in drawn.files}
    assert shapes == {
        "originals": (4, 8, 8, 1),
        "reconstructions": (4, 8, 8, 1),
        "interpolations": (2, 5, 8, 8, 1),
        "samples": (2, 3, 8, 8, 1),
    }
    assert all(drawn[name].dtype == np.uint8 for name in drawn.files)
    arrays = digits.load(Path())
    for k, label in enumerate((7, 3, 6, 9)):
        first = np.flatnonzero(arrays.test_labels[:, 0] == label)[0]
        assert (drawn["originals"][k] == arrays.test_images[first]).all()
    # the ends of a line are the reconstructions it runs between
    for k in range(2):
        ends = drawn["interpolations"][k][[0, -1]].astype(int)
        assert abs(ends - drawn["reconstructions"][2 * k : 2 * k + 2]).max() <= 1
    # samples decode codes from the prior, N(0, I)
    model = load(run, (8, 8, 1), folder / "weights.pt")
    normal = normal_stream(derive_seed(run.seed, "sample"), torch.device("cpu"))
    with torch.inference_mode():
        expected = BERNOULLI.pixels(model.decoder(normal(torch.empty(6, 3))))
    assert (drawn["samples"].reshape(6, 8, 8, 1) == expected.numpy()).all()
    again = tmp_path / "again.npz"
    step(
        "codes.images", *inputs(folder, data), "--output", again,
        *PANELS,
    )  # fmt: skip
    assert again.read_bytes() == output.read_bytes()


@pytest.fixture(scope="module")
def autoregressive(data, tmp_path_factory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("autoregressive")
    small = {"encoder_widths": [16], "decoder_widths": [16], "channels": 4, "layers": 2}
    run = changed(
        objective="infovae",
        parameters={"divergence": {"name": "adversarial", "widths": [8]}},
        network="pixelcnn",
        network_parameters=small,
        reconstruction="binary",
        latent_dim=3,
        epochs=1,
    )
    run = dataclasses.replace(run, n_train=40)
    step(
        "training.train", "--run", run.to_json(), "--data", data, "--output", folder,
        "--checkpoints", folder / "checkpoints", "--device", "cpu",
    )  # fmt: skip
    return run, folder


def test_images_of_an_autoregressive_decoder_are_drawn(
    autoregressive, data, tmp_path, monkeypatch, capsys
):
    run, folder = autoregressive
    output = tmp_path / "images.npz"
    step("codes.images", *inputs(folder, data), "--output", output, *PANELS)
    drawn = np.load(output)
    assert all(set(np.unique(drawn[name])) == {0, 255} for name in drawn.files)
    assert f"interpolations of {run.path}: 8/8 rows" in capsys.readouterr().err
    # the originals are what the networks saw
    arrays = digits.load(Path())
    first = arrays.test_images[np.flatnonzero(arrays.test_labels[:, 0] == 7)[0]]
    assert (drawn["originals"][0] == np.where(first > 127, 255, 0)).all()
    # samples are drawn with noise of their own from codes of the prior
    model = load(run, (8, 8, 1), folder / "weights.pt")
    normal = normal_stream(derive_seed(run.seed, "sample"), torch.device("cpu"))
    codes = normal(torch.empty(6, 3))
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "pixels/samples"))
    expected = model.decoder.sample(codes, torch.rand(6, 8, 8, 1, generator=generator))
    assert (drawn["samples"].reshape(6, 8, 8, 1) == 255 * expected.numpy()).all()
    # along a line the noise is one and the same, so equal codes are equal images
    monkeypatch.setattr(images, "interpolate", lambda start, end, steps: start.repeat(steps, 1))
    # however images are cut into chunks
    monkeypatch.setattr(Autoencoder, "chunk", 3)
    step("codes.images", *inputs(folder, data), "--output", output, *PANELS)
    still = np.load(output)
    assert (still["interpolations"] == still["interpolations"][:, :1]).all()
    assert (still["interpolations"][0, 0] != still["interpolations"][1, 0]).any()
    assert (still["samples"] == drawn["samples"]).all()


def test_a_run_on_a_subset_sees_and_encodes_that_alone(autoregressive, data, tmp_path, monkeypatch):
    run, folder = autoregressive
    record = json.loads((folder / "run.json").read_text())
    assert record["n_train"] == 40 and record["run"]["n_train"] == 40
    seen = {}

    def spy(trainee, images, checkpoints, history):
        seen.update(images)
        raise UserError("enough")

    monkeypatch.setattr(train, "fit", spy)
    arguments = (
        "training.train", "--run", run.to_json(), "--data", data, "--output", tmp_path / "run",
        "--checkpoints", tmp_path, "--device", "cpu",
    )  # fmt: skip
    with pytest.raises(UserError, match="enough"):
        step(*arguments)
    assert len(seen["train"]) == 1297 and len(seen["test"]) == 500
    images_seen, counts = torch.unique(seen["train"], dim=0, return_counts=True)
    assert len(images_seen) == 40 and set(counts.tolist()) == {1297 // 40, 1297 // 40 + 1}

    output = tmp_path / "posterior_train.npz"
    both = ("--output", tmp_path / "posterior.npz", "--train-output", output)
    step("codes.encode", *inputs(folder, data), *both)
    assert len(np.load(tmp_path / "posterior.npz")["mean"]) == 500
    model = load(run, (8, 8, 1), folder / "weights.pt")
    mean, log_sigma = model.encode_images(seen["train"][:40])
    posterior = np.load(output)
    np.testing.assert_allclose(posterior["mean"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(posterior["sigma"], log_sigma.exp(), rtol=1e-5, atol=1e-6)


def test_subsets_are_nested_and_of_their_seed():
    small, large = (training_subset(1000, size, seed=3) for size in (10, 200))
    assert (large[:10] == small).all() and len(set(large)) == 200 and large.max() > 500
    assert (training_subset(1000, 10, seed=4) != small).any()
    assert training_subset(1000, None, seed=3) is None
    with pytest.raises(UserError, match="1000 is not below the 1000 training images"):
        training_subset(1000, 1000, seed=3)


def test_weights_of_another_training_are_refused(trained, data, tmp_path):
    _, folder = trained
    content = bytearray((folder / "weights.pt").read_bytes())
    content[len(content) // 2] ^= 1  # PyTorch reads this in silence
    (tmp_path / "weights.pt").write_bytes(content)
    arguments = inputs(folder, data)
    arguments[arguments.index("--weights") + 1] = tmp_path / "weights.pt"
    with pytest.raises(UserError, match="SHA-256 is not the one in the run's record"):
        step("codes.encode", *arguments, "--output", tmp_path / "posterior.npz")


def test_interpolation_is_the_straight_line():
    line = images.interpolate(torch.zeros(2), torch.tensor([1.0, -2.0]), 5)
    assert torch.allclose(line[:, 0], torch.tensor([0, 0.25, 0.5, 0.75, 1]))
    assert torch.allclose(line[:, 1], -2 * line[:, 0])


def test_end_points_are_the_first_of_their_class_and_differ():
    labels = np.array([[3, 0], [7, 1], [7, 0], [3, 3], [1, 7]])
    assert images.end_points(labels, [(7, 3), (7, 1)]) == [1, 0, 2, 4]
    with pytest.raises(UserError, match="no test image of class 1"):
        images.end_points(labels, [(1, 1)])
    assert images.end_points(labels[:, :0], [(4, 0), (4, 2)], "image") == [4, 0, 4, 2]
    with pytest.raises(UserError, match="no test image 5, only 5"):
        images.end_points(labels, [(4, 5)], "image")


def test_grey_values_go_in_and_come_out():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    unit = BERNOULLI.inputs(pixels)
    assert unit.min() == 0 and unit.max() == 1
    logits = torch.logit(unit.double(), eps=1e-9).float()
    assert torch.equal(BERNOULLI.pixels(logits), pixels)


def test_the_reconstruction_term_is_the_bernoulli_log_likelihood():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 4, 1)
    target = (torch.rand(3, 4, 4, 1) > 0.5).float()
    expected = -torch.distributions.Bernoulli(logits=logits).log_prob(target).sum((1, 2, 3))
    torch.testing.assert_close(BERNOULLI.error(logits, target), expected)


@pytest.mark.parametrize("module", ["codes.encode", "codes.images"])
@pytest.mark.parametrize("name", ["--run", "--weights", "--data"])
def test_missing_inputs_are_one_line(module, name, trained, data, tmp_path):
    _, folder = trained
    arguments = inputs(folder, data)
    arguments[arguments.index(name) + 1] = tmp_path / "missing"
    if module == "codes.images":
        arguments += PANELS
    output = tmp_path / "out.npz"
    with pytest.raises(UserError, match="missing") as error:
        step(module, *arguments, "--output", output)
    assert "\n" not in str(error.value) and not output.exists()


def experiment():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    return parse(yaml.safe_load((ROOT / "config/demo.yaml").read_text()), schema).experiment


def test_a_table_is_every_runs_rows_in_order(tmp_path):
    demo = experiment()
    runs = list(demo.default_runs())
    for run in runs:
        path = tmp_path / run.path / "covariance.csv"
        path.parent.mkdir(parents=True)
        path.write_text("dataset,model,latent_dim,weight,seed,x\n" + f"{run.path},,,,,1\n" * 2)
    rows = list(collect.collect(TABLES["covariance"], demo, tmp_path))
    assert [row["dataset"] for row in rows[::2]] == [run.path for run in demo.default_runs()]
    assert len(rows) == 2 * len(list(demo.default_runs()))
    path.write_text("dataset,model,latent_dim,weight,seed,x\n")
    with pytest.raises(UserError, match="has no rows"):
        list(collect.collect(TABLES["covariance"], demo, tmp_path))
    path.unlink()
    with pytest.raises(UserError, match="cannot read"):
        list(collect.collect(TABLES["covariance"], demo, tmp_path))


def test_the_final_row_is_the_last_of_the_test_split(tmp_path):
    arrays = digits.load(Path())
    tensors = {
        "train": torch.from_numpy(arrays.train_images),
        "test": torch.from_numpy(arrays.test_images),
    }
    outcome = fit(RUN, tensors, tmp_path)
    (row,) = final_test_row(list(csv.DictReader((tmp_path / "history.csv").open())))
    assert float(row["elbo_paper"]) == outcome.rows[-1]["elbo_paper"]
    assert list(row) == [
        "dataset", "model", "latent_dim", "weight", "seed",
        "reconstruction", "regulariser", "elbo_paper", "elbo", "elbo_widened", "noise_deviation",
    ]  # fmt: skip


def test_the_experiment_goes_through_a_command_line(tmp_path):
    demo = experiment()
    runs = list(demo.default_runs())
    for run in runs:
        path = tmp_path / "runs" / run.path / "mutual_information.csv"
        path.parent.mkdir(parents=True)
        path.write_text("dataset,model,latent_dim,weight,seed,mic\na,b,1,1,0,0.5\n")
    step(
        "tables.collect", "--experiment", demo.to_json(), "--table", "mutual_information",
        "--runs", tmp_path / "runs", "--output", tmp_path / "table.csv",
    )  # fmt: skip
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + len(runs) > 1
    assert json.loads(demo.to_json())["name"] == "demo"
