"""What captions say of how raw data was understood."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from hebae.base import files
from hebae.data.found import Note
from hebae.facts.text import data_text

FACES = SimpleNamespace(name="faces", source="celeba", title="Faces *64*")


def prepared(results: Path, **fields: object) -> str:
    files.write_json(results / "data/faces/dataset.json", fields)
    return data_text(results, FACES)


def test_a_caption_says_what_a_reader_has_to_know_of_the_images(tmp_path):
    notes = [asdict(Note("long", "the split is *ours*")), asdict(Note("of the terminal alone"))]
    sizes = {"n_train": 1400, "n_test": 60}
    assert prepared(tmp_path, **sizes, notes=notes) == (
        r"Faces *64* (1,400 training and 60 test images; the split is *ours*)"
    )
    plain = r"Faces *64* (1,400 training and 60 test images)"
    assert prepared(tmp_path, **sizes, notes=notes[1:]) == plain
    assert prepared(tmp_path, **sizes) == plain


def test_a_dataset_that_is_not_there_is_its_title(tmp_path):
    assert data_text(tmp_path, FACES) == r"Faces *64*"
