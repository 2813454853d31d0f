"""What captions and the first page of the report state of an experiment, computed.

Captions are templates in reStructuredText. All texts here are that: names that come from a config
or from a table are escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hebae.base.text import counted, escape_rst, list_table, listed
from hebae.claims.verdicts import Finding, counts, read_findings
from hebae.config.experiment import Dataset, Experiment
from hebae.config.registry import DATASETS
from hebae.config.run import weight_text
from hebae.data.notes import notes_of
from hebae.report import origin
from hebae.report.names import categories


@dataclass(frozen=True)
class FigureFacts:
    """What a caption can state of its figure; :func:`figure_facts` says what each text is."""

    data: str
    models: str
    models_with_bound: str
    models_with_density: str
    latent_dims: str
    main_latent_dim: int
    weight_latent_dims: str
    epochs: str
    seeds: str
    weight_seeds: str
    first_seed: int
    weights: str
    information: str
    fid: str
    training_sizes: str
    importance_samples: str
    outcome: str


@dataclass(frozen=True)
class ReportFacts:
    """What the first page states, and the facts of figures by name."""

    title: str
    datasets: str
    claims: str
    category: dict[str, str]
    made_with: str
    trained_with: str
    figures: dict[str, FigureFacts]


def escaped(models: Iterable[str]) -> str:
    """A list of models in words, their names taken literally."""
    return listed(map(escape_rst, models)) or "no model"


def images_of(results: Path, data: Dataset) -> tuple[int | None, int | None]:
    """How many training and test images a dataset has, where that is known."""
    try:
        fields = json.loads((results / "data" / data.name / "dataset.json").read_bytes())
        return int(fields["n_train"]), int(fields["n_test"])
    except (OSError, ValueError, KeyError, TypeError):
        return DATASETS[data.source].n_train, DATASETS[data.source].n_test


def data_text(results: Path, data: Dataset) -> str:
    """A dataset by its title, with its size: Digits 8×8 (1,297 training and 500 test images).

    So is what a reader has to know of it: that its split is not the published one.
    """
    numbers = images_of(results, data)
    said = []
    if None not in numbers:
        n_train, n_test = numbers
        said.append(f"{n_train:,} training and {n_test:,} test images")
    notes = notes_of(results / "data" / data.name / "dataset.json")
    said += [escape_rst(note.caption) for note in notes if note.caption]
    text = "; ".join(said)
    return f"{escape_rst(data.title)} ({text})" if text else escape_rst(data.title)


def range_text(values: Iterable[int], noun: str) -> str:
    """40 epochs, or 20 to 40 epochs."""
    low, high = min(found := list(values)), max(found)
    return counted(high, noun) if low == high else f"{low:,} to {counted(high, noun)}"


def seeds_text(seeds: Sequence[int]) -> str:
    """One seed, or 3 seeds."""
    return "one seed" if len(seeds) == 1 else counted(len(seeds), "seed")


def weights_text(experiment: Experiment, data: Dataset) -> str:
    """The default λ of each model."""
    return listed(
        f"{weight_text(recipe.default)} ({escape_rst(experiment.models[model].title)})"
        for model, recipe in data.models.items()
    )


def information_text(data: Dataset) -> str:
    """Between what MIC and TIC are taken."""
    protocol = data.mutual_information
    if protocol.protocol == "mean_vs_sample":
        return "between each latent variable’s mean and a sample of it"
    return (
        f"between the index of a test image and each latent variable, {protocol.indices} indices "
        f"of {protocol.draws} draws in each of {counted(protocol.sets, 'random set')}"
    )


def fid_text(data: Dataset) -> str:
    """Between which images the Fréchet distance is taken, and in which features."""
    if data.fid is None:
        return ""
    features = {
        "inception": "Inception’s features",
        "classifier": "the features of a classifier of these images, so no published number "
        "compares",
    }
    return (
        f"{data.fid.n_generated:,} samples against {data.fid.n_reference:,} images of the "
        f"{data.fid.reference} split, in {features.get(data.fid.features, data.fid.features)}"
    )


def sizes_text(data: Dataset) -> str:
    """The parts of the training images that models are trained on besides all of them."""
    sizes = data.training_sizes
    return listed(f"{size:,}" for size in sorted(sizes)) if sizes else "none"


def finding_line(finding: Finding) -> str:
    """What came out by one measure, in a line."""
    value = f": {finding.value}, {counted(finding.n_seeds, 'seed')}" if finding.value else ""
    return (
        f"{finding.shown.sign} **{escape_rst(finding.text)}** by "
        f"{escape_rst(finding.measured + value)}"
    )


def outcome_text(findings: Sequence[Finding]) -> str:
    """What came out of a figure's claims: a list, and in it one of the measures of each."""
    if not findings:
        return "**What came out** is to be looked at: no claim is tested on this figure."
    found = [f"**What came out** of {counted(len(findings), 'test')}: {counts_text(findings)}."]
    for statement, group in groupby(findings, lambda finding: finding.statement):
        of_claim = list(group)
        lines = "\n".join(f"  * {finding_line(finding)}" for finding in of_claim)
        if reason := of_claim[0].withdrawn:
            statement += f" Withdrawn: {reason}."
        found.append(f"* {escape_rst(statement)}\n\n{lines}")
    return "\n\n".join(found)


def counts_text(findings: Sequence[Finding]) -> str:
    """How many there are of each verdict: ✓ holds: 3, ? undecided: 2."""
    return ", ".join(
        f"{verdict.sign} {verdict}: **{number}**"
        for verdict, number in counts(findings).items()
        if number
    )


def figure_facts(
    figure: str, experiment: Experiment, results: Path, findings: Sequence[Finding]
) -> FigureFacts:
    """The facts of a figure, of the dataset that it is drawn for."""
    data = experiment.datasets[experiment.figures[figure]]
    titles = {model: experiment.models[model].title for model in data.models}
    bounds = [run.model for run in experiment.main_runs(data.name) if run.bound]
    densities = {run.model for run in experiment.bounds_runs() if run.dataset == data.name}
    return FigureFacts(
        data=data_text(results, data),
        models=escaped(titles.values()),
        models_with_bound=escaped(titles[model] for model in bounds),
        models_with_density=escaped(titles[model] for model in titles if model in densities),
        latent_dims=listed(data.latent_dims),
        main_latent_dim=data.main_latent_dim,
        weight_latent_dims=listed(data.weight_latent_dims),
        epochs=range_text((recipe.training.epochs for recipe in data.models.values()), "epoch"),
        seeds=seeds_text(data.seeds),
        weight_seeds=seeds_text(data.weight_seeds),
        first_seed=data.seeds[0],
        weights=weights_text(experiment, data),
        information=information_text(data),
        fid=fid_text(data),
        training_sizes=sizes_text(data),
        importance_samples=listed(f"{k:,}" for k in sorted(data.bounds.samples)),
        outcome=outcome_text([of for of in findings if of.figure == figure]),
    )


def claims_text(findings: Sequence[Finding]) -> str:
    """How many tests there are of each verdict."""
    if not findings:
        return "No claim was judged."
    claims = len({finding.claim for finding in findings})
    tests = f"{counted(claims, 'claim')} in {counted(len(findings), 'test')}"
    return f"{tests}: {counts_text(findings)}."


def datasets_text(experiment: Experiment, results: Path) -> str:
    """A line a dataset: images, models, seeds, runs."""
    lines = [
        f"* {data_text(results, data)}: {escaped(titles)}, {seeds_text(data.seeds)} "
        f"({listed(data.seeds)})"
        for data in experiment.datasets.values()
        for titles in [[experiment.models[model].title for model in data.models]]
    ]
    return "\n".join(lines)


def claims_file(results: Path) -> list[Finding]:
    """The verdicts, none where no claim was judged yet."""
    path = results / "tables/claims.csv"
    return read_findings(path) if path.exists() else []


def report_facts(experiment: Experiment, results: Path) -> ReportFacts:
    """All facts, from ``results/<experiment>``: the sizes of datasets, the runs, the verdicts.

    Raises:
        UserError: for a table that is damaged.
    """
    findings = claims_file(results)
    return ReportFacts(
        title=escape_rst(experiment.name),
        datasets=datasets_text(experiment, results),
        claims=claims_text(findings),
        category=categories(experiment),
        made_with=table_text(origin.made_with()),
        trained_with=table_text(origin.trained_with(results / "tables/runs.csv")),
        figures={
            figure: figure_facts(figure, experiment, results, findings)
            for figure in experiment.figures
        },
    )


def table_text(rows: dict[str, str]) -> str:
    """Names and values as a table."""
    return list_table([(escape_rst(name), escape_rst(value)) for name, value in rows.items()])
