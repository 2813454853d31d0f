"""A file that this user may not read is neither missing nor damaged, and not to be deleted."""

from pathlib import Path

import pytest
import torch

from hebae.base import npz
from hebae.codes.posterior import Posterior
from hebae.config.run import read_run
from hebae.measures.fid.features.inception import present
from hebae.measures.fid.features.network import open_features, read_record
from hebae.measures.fid.reference import Reference
from hebae.tables.read import read_table

READERS = {
    "a record": read_run,
    "arrays": lambda path: npz.read(path, ["mean"]),
    "a posterior": Posterior.load,
    "a reference": Reference.load,
    "a table": read_table,
    "features": lambda path: read_record(path.parent),
    "opened features": lambda path: open_features(path.parent, torch.device("cpu")),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_may_not_be_read_says_so_and_nothing_else(tmp_path, monkeypatch, reader):
    path = tmp_path / "features.json"
    path.write_bytes(b"intact")

    def closed(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    # an administrator may read everything
    monkeypatch.setattr(Path, "open", closed)
    monkeypatch.setattr("builtins.open", closed)
    with pytest.raises(PermissionError, match="Permission denied"):
        READERS[reader](path)


def test_weights_of_inception(tmp_path, monkeypatch):
    path = tmp_path / "inception/pt_inception-2015-12-05-6726825d.pth"
    path.parent.mkdir()
    path.write_bytes(b"intact")

    def closed(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(PermissionError):
        present(tmp_path)
