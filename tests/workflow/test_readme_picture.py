"""The picture in README is the workflow."""

import itertools
import re
from pathlib import Path

from tests.project import ROOT, copy_project, snakemake

RULES = ROOT / "workflow/rules"
Edges = set[tuple[str, str]]


def stages() -> dict[str, str]:
    """The file of each rule by the rule's name; the rules of figures have names of their own."""
    rule = re.compile(r"^(?:rule|use rule \w+ as) (\w+)", re.MULTILINE)
    return {
        name: path.stem for path in RULES.glob("*.smk") for name in rule.findall(path.read_text())
    }


def read_graph(dot: str) -> Edges:
    """The edges of Snakemake's graph of rules, between the files that the rules stand in."""
    labels = dict(re.findall(r"(\d+)\[label = \"(\w+)\"", dot))
    of = stages()
    files = {number: of.get(label, "figures") for number, label in labels.items()}
    edges = {(files[a], files[b]) for a, b in re.findall(r"(\d+) -> (\d+)", dot)}
    return {(a, b) for a, b in edges if a != b}


def reduced(edges: Edges) -> Edges:
    """The edges without those that a longer way makes needless."""

    def reachable(start: str) -> set[str]:
        following = {b for a, b in edges if a == start}
        return following.union(*map(reachable, following))

    return {
        (a, b)
        for a, b in edges
        if not any(b in reachable(c) for first, c in edges if first == a and c != b)
    }


def test_the_picture_has_the_files_of_rules_and_what_each_needs(tmp_path: Path):
    copy_project(tmp_path)
    graph = snakemake(tmp_path, "pages", "--rulegraph", config="config/demo.yaml")
    picture = re.search(
        r"```mermaid\nflowchart LR\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    drawn = []
    for line in picture[1].splitlines():
        ways = [re.fullmatch(r"(\w+)(?:\[\".*?\"\])?", box.strip()) for box in line.split(" --> ")]
        assert len(ways) > 1 and all(ways), line
        drawn += itertools.pairwise(way[1] for way in ways)
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) == reduced(read_graph(graph.stdout))
    labels = re.findall(r"(\w+)\[\"(\w+)<br>", picture[1])
    assert dict(labels) == {name: name for edge in drawn for name in edge}
    assert {*dict(labels)} == {*stages().values(), "figures"}


def test_an_edge_that_a_longer_way_makes_needless_is_left_out():
    assert reduced({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
