"""What ``docs/results`` says, in the words and numbers of the paper: :mod:`hebae.publish.paper`."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from pathlib import Path

from hebae.base.checkout import CHECKOUT
from hebae.base.errors import UserError
from hebae.base.text import counted, interval, listed, number, with_interval
from hebae.claims.read import Claims
from hebae.claims.verdicts import (
    FEWEST,
    PART_COLUMNS,
    Finding,
    Verdict,
    across,
    counts,
    optional_number,
    read_findings,
    read_rows,
)
from hebae.config.experiment import Experiment
from hebae.config.registry import FIGURES, PAPER
from hebae.publish.page import PAGE, escaped
from hebae.publish.readme_table import latent_dims_of, of_the_paper, only_at, scope
from hebae.publish.results import CONFIG, all_published, read_experiment
from hebae.report.record import read_record
from hebae.tables.collect import every_run

NBSP = "\N{NO-BREAK SPACE}"
IN_PART = {
    verdict: f"{verdict} in part" for verdict in (Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED)
}
"""Beside the verdicts: those of a claim whose tests do not all have the same one, by the first of
them that a test has."""


TIED = 1e-12
"""A difference below this is of the last digit."""


class PaperFacts:
    """What ``docs/results`` says. The public methods are the functions of the template.

    An experiment or a claim that is not there is a UserError.
    """

    def __init__(self, folder: Path, claims: Claims) -> None:
        self._folder = folder
        self._claims = [claim for claim in claims.claims if of_the_paper(claim)]
        self._names = all_published(folder)
        self._read: dict[str, tuple[Experiment, list[Finding]]] = {}
        self._figures: list[str] = []
        self._level = claims.level

    # Experiments

    def experiment(self, name: str) -> Experiment:
        """What was run, as the published config has it."""
        return self._of(name)[0]

    def title(self, experiment: str) -> str:
        """The name of an experiment's first dataset."""
        return next(iter(self.experiment(experiment).datasets.values())).title

    def seeds(self, experiment: str) -> int:
        """The most seeds by which a claim was judged."""
        return max((one.n_seeds for one in self._of(experiment)[1]), default=0)

    def training_images(self, experiment: str) -> str:
        """How many images the runs were trained on, the most of any."""
        return f"{max(int(run['n_train']) for run in self._runs(experiment)):,}"

    def epochs(self, experiment: str) -> str:
        """The epochs of its runs; the fewest and the most where they differ."""
        found = {run.training.epochs for run in every_run(self.experiment(experiment))}
        return " to ".join(map(str, dict.fromkeys((min(found), max(found)))))

    def runs(self, *experiments: str) -> str:
        """How many runs were trained, without :meth:`short_trainings`; of all if none is named."""
        return f"{sum(len(self._runs(name)) for name in experiments or self._names):,}"

    def core_hours(self, *experiments: str) -> str:
        """The core-hours that these runs took; in all experiments if none is named."""
        return number(sum(map(self._core_hours, experiments or self._names)))

    def short_trainings(self) -> str:
        """How many trainings the shares of failures are of, in all experiments."""
        paths = [self._folder / name / "tables/stability.csv" for name in self._names]
        tables = [path.read_text(encoding="utf-8") for path in paths if path.is_file()]
        return f"{sum(len(table.splitlines()) - 1 for table in tables):,}"

    def precision(self, experiment: str) -> str:
        """The precision of its runs."""
        return listed(dict.fromkeys(run["precision"] for run in self._runs(experiment)))

    def latent_dims(self, experiment: str) -> str:
        """The latent dimensions of its first dataset: 2, 4 and 8."""
        return listed(next(iter(self.experiment(experiment).datasets.values())).latent_dims)

    def decides(self, experiment: str) -> bool:
        """Whether any claim was judged by as many seeds as can decide it."""
        return self.seeds(experiment) >= FEWEST

    def costs(self) -> str:
        """A table: the runs and core-hours of each experiment, and of all."""
        rows = [(f"[{name}](results/{name}/{PAGE})", *self._cost(name)) for name in self._names]
        return _table(
            ("experiment", 40), ("runs", 15), ("core-hours of training", 25),
            rows=[*rows, ("all", *self._cost())],
        )  # fmt: skip

    def _of(self, experiment: str) -> tuple[Experiment, list[Finding]]:
        """An experiment with its findings, read once."""
        if experiment not in self._names:
            raise UserError(f"{self._folder}: no experiment {experiment!r} is published there")
        if experiment not in self._read:
            folder = self._folder / experiment
            findings = read_findings(folder / "tables/claims.csv")
            self._read[experiment] = read_experiment(folder / CONFIG), findings
        return self._read[experiment]

    def _cost(self, *names: str) -> tuple[str, str]:
        return self.runs(*names), self.core_hours(*names)

    def _runs(self, experiment: str) -> list[dict[str, str]]:
        path = self._folder / experiment / "tables/runs.csv"
        return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))

    def _core_hours(self, experiment: str) -> float:
        runs = self._runs(experiment)
        return sum(float(run["training_seconds"]) * int(run["threads"]) for run in runs) / 3600

    # Claims

    def ref(self, *claims: str) -> str:
        """Claims of the paper by their numbers in its table: C1 and C4."""
        ids = [claim.id for claim in self._claims]
        for claim in claims:
            if claim not in ids:
                raise UserError(f"{claim!r} is no claim of the paper")
        return _ranges([index for index, one in enumerate(ids, 1) if one in claims])

    def n_claims(self) -> int:
        """How many claims of the paper there are."""
        return len(self._claims)

    def fewest_seeds(self) -> int:
        """The fewest seeds that can decide a claim."""
        return FEWEST

    def level(self) -> str:
        """The chance of any false verdict among an experiment's claims."""
        return f"{100 * self._level:g} %"

    def given(self, experiment: str, claim: str, measure: str, verdict: str, *dims: int) -> str:
        """Nothing; a UserError if the verdict is another one, at any of these latent dimensions.

        It guards what the template says in words of its own.
        """
        found = self._about(experiment, claim, measure)
        said: dict[int | None, set[Verdict]] = {}
        for one in found:
            if one.dataset:
                said.setdefault(one.latent_dim, set()).add(one.shown)
        for dim in dims or said or (None,):
            if said.get(dim) != {_verdict_of(verdict)}:
                raise UserError(
                    f"the paper takes for granted that {claim} {verdict} by {measure} on "
                    f"{experiment} at z = {dim}, and {self._folder} has: "
                    f"{listed(sorted(said.get(dim, ['no verdict'])))}; write its sentences anew"
                )
        return ""

    def value(
        self,
        experiment: str,
        claim: str,
        measure: str,
        latent_dim: int,
        part: str = "",
        minus: bool = False,
    ) -> str:
        """An estimate with its 95 % interval; ``minus`` turns b − a into a − b.

        Of a claim of several parts the part must be named, since another one may decide tomorrow.
        """
        estimate, low, high = self._estimate(experiment, claim, measure, latent_dim, part)
        return (
            with_interval(-estimate, -high, -low) if minus else with_interval(estimate, low, high)
        )

    def span(
        self,
        experiment: str,
        claim: str,
        measure: str,
        latent_dim: int,
        *parts: str,
        minus: bool = False,
    ) -> str:
        """The lowest and the highest estimate of some parts of a claim."""
        given = experiment, claim, measure, latent_dim
        sign = -1 if minus else 1
        estimates = [sign * self._estimate(*given, part)[0] for part in parts]
        return interval(min(estimates), max(estimates))

    def _estimate(
        self, experiment: str, claim: str, measure: str, latent_dim: int, part: str
    ) -> tuple[float, float, float]:
        """The estimate of a claim's part, with its interval."""
        self._about(experiment, claim, measure)
        path = self._folder / experiment / "tables/claim_parts.csv"
        rows = [
            [optional_number(row[column]) for column in ("estimate", "ci_low", "ci_high")]
            for row in read_rows(path, PART_COLUMNS)
            if (row["claim"], row["measure"]) == (claim, measure)
            and part in ("", row["part"])
            and row["latent_dim"] == str(latent_dim)
        ]
        if len(rows) != 1 or any(one is None or math.isnan(one) for one in rows[0]):
            raise UserError(
                f"{self._folder}/{experiment}: {len(rows)} estimates of {claim} by {measure} at "
                f"z = {latent_dim}{f': {part}' * bool(part)}"
            )
        estimate, low, high = rows[0]
        return estimate, low, high

    def claims_with(self, verdict: str, experiment: str, reading: str) -> str:
        """The paper's claims that have this verdict at every latent dimension, or "none".

        Args:
            verdict: one of :class:`Verdict` or of :data:`IN_PART`.
            experiment: a published one.
            reading: by the measures of the paper (``paper``), or by ``fair`` ones.
        """
        if verdict not in IN_PART.values():
            _verdict_of(verdict)
        ids = [
            claim.id
            for claim in self._claims
            if self._verdict(experiment, claim.id, reading) == verdict
        ]
        return self.ref(*ids) or "none"

    def outcome(self, experiment: str, reading: str) -> str:
        """The paper's claims by their verdicts, in a sentence."""
        found = {
            verdict: self.claims_with(verdict, experiment, reading)
            for one in Verdict
            for verdict in filter(None, (one, IN_PART.get(one)))
        }
        texts = [f"{verdict}: {claims}" for verdict, claims in found.items() if claims != "none"]
        return "; ".join(texts)

    def why_undecided(self, experiment: str) -> str:
        """Why claims of the paper are undecided, in a sentence; nothing where none is."""
        ids = {claim.id for claim in self._claims}
        found = [
            one
            for one in self._of(experiment)[1]
            if one.claim in ids and one.shown is Verdict.UNDECIDED
        ]
        few = sum(one.too_few for one in found)
        wanting, left = (counted(n, "undecided test") for n in (few, len(found) - few))
        reasons = (
            f"{wanting} had fewer than the {FEWEST} seeds that can decide." * bool(few),
            f"The seeds do not settle {left}." * (few < len(found)),
        )
        return " ".join(filter(None, reasons))

    def claims_table(self, *experiments: str) -> str:
        """A row a claim of the paper: its verdicts, and the effect where it was run first."""
        titles = [(f"{self.title(name)}, {scope(*self._of(name))}", 15) for name in experiments]
        rows = []
        for index, claim in enumerate(self._claims, 1):
            found = {name: self._about(name, claim.id) for name in experiments}
            signs = [_signs(own, latent_dims_of(self._of(name)[1])) for name, own in found.items()]
            effect = next(filter(None, map(_effect, found.values())), "")
            rows.append([f"C{index}", escaped(claim.statement), *signs, effect])
        return _table(("", 4), ("claim of the paper", 36), *titles, ("effect", 26), rows=rows)

    def _about(self, experiment: str, claim: str, measure: str = "") -> list[Finding]:
        found = [
            one
            for one in self._of(experiment)[1]
            if one.claim == claim and measure in ("", one.measure)
        ]
        if not found:
            raise UserError(
                f"{self._folder}/{experiment}/tables/claims.csv: nothing about {claim!r}"
                + f" by {measure!r}" * bool(measure)
            )
        return found

    def _verdict(self, experiment: str, claim: str, reading: str) -> str:
        """The verdict of a claim's tests; empty if no measure of it has this reading."""
        found = [one for one in self._about(experiment, claim) if one.reading == reading]
        verdicts = {one.shown for one in found if one.dataset} or {one.shown for one in found}
        if len(verdicts) > 1:
            return next(text for verdict, text in IN_PART.items() if verdict in verdicts)
        return "".join(verdicts)

    # Figures

    def figure_ref(self, name: str) -> str:
        """Figure 2: figures are numbered as they are first named."""
        if name not in self._figures:
            self._figures.append(name)
        return f"Figure {self._figures.index(name) + 1}"

    def figure(self, name: str, *experiments: str, caller: Callable[[], str]) -> str:
        """The figure of the first experiment that has it: its number, caption and command.

        The caption is the first sentence of the published one, and what ``{% call %}`` holds.
        """
        for experiment in experiments:
            config, path = self.experiment(experiment), f"{experiment}/figures/{name}"
            if name in config.figures and (self._folder / f"{path}.png").is_file():
                break
        else:
            raise UserError(f"{self._folder}: no figure {name!r} of {listed(experiments)}")
        entry, data = FIGURES[name], config.datasets[config.figures[name]].title
        title = f"{entry.title}{' of the paper' * (entry.group == PAPER)}: {entry.shows}"
        record = read_record(self._folder / f"{path}.json")
        first = record.get("caption", "").partition(". ")[0].rstrip(".")
        own = CHECKOUT / f"config/{experiment}.yaml"
        same = own.is_file() and read_experiment(own) == config
        # what was published may be older than the config
        run = f"config/{experiment}.yaml" if same else f"docs/results/{experiment}/{CONFIG}"
        said = f"{escaped(first)}. {' '.join(caller().split())}"
        return (
            f"![{title}](results/{path}.png)\n\n"
            f"**{self.figure_ref(name)}. {title}, {escaped(data)}.** {said} Rerun:\\\n"
            f"`snakemake figures/{experiment}/{name}.pdf --cores 2 --configfile {run}`\n"
        )


def _verdict_of(word: str) -> Verdict:
    try:
        return Verdict(word)
    except ValueError:
        raise UserError(f"{word!r} is no verdict") from None


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers of claims in their order: C1 to C4, C6 and C7."""
    texts = []
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [f"C{number}" for _, number in group]
        texts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else run
    return listed(texts)


def _table(*columns: tuple[str, int], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; pandoc takes the columns' widths from the dashes."""
    head = ["| " + " | ".join(title for title, _ in columns) + " |"]
    head += ["|" + "|".join(":" + "-" * width for _, width in columns) + "|"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows])


def _signs(findings: Sequence[Finding], latent_dims: Collection[int]) -> str:
    """The signs of a claim's verdicts, by the paper's measures and by fair ones.

    ``latent_dims`` are those of the column, which need no mention.
    """
    texts = []
    for reading, name in ("paper", ""), ("fair", "*fair:* "):
        found = [one for one in findings if one.reading == reading and one.dataset]
        if len({one.measure for one in found}) == 1:
            words = across(found)
            for word in ("holds", "does not hold", "undecided", "withdrawn", "not "):
                words = words.replace(f" {word}", " " * (word == "not "))
            where = "" if " at z = " in words else only_at(found, latent_dims)
            texts.append(name + words + where)
        elif found:
            each = [(verdict.sign, n) for verdict, n in counts(found).items() if n]
            of = ", ".join(f"{sign}{NBSP}{n}" for sign, n in each) + f" of {len(found)}"
            where = only_at(found, latent_dims)
            texts.append(name + (each[0][0] + where if len(each) == 1 else of))
    return "; ".join(texts).replace(" = ", f"{NBSP}={NBSP}") or Verdict.NOT_RUN.sign


def _effect(findings: Sequence[Finding]) -> str:
    """The comparison that a claim's first measure rests on, at the largest latent dimension."""
    found = [one for one in findings if one.value and one.measure == findings[0].measure]
    last = max(found, key=lambda one: one.latent_dim or 0, default=None)
    if not last:
        return ""
    tied = all(abs(one) < TIED for one in (last.estimate, last.low, last.high))
    value = "0" if tied else last.value.replace(" ", NBSP)
    return f"{escaped(last.part)}, {last.place}: {value}"
