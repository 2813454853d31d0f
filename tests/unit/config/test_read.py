"""Config files that cannot be read, or that say a thing twice: the file, the line, the key."""

import json

import pytest

from hebae.config.read import check_readable

TWICE = """\
datasets:
  digits:
    training: {epochs: 1}
    latent_dims: [3]
    training: {epochs: 7}
"""


def complaint(folder, content) -> str:
    path = folder / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="mine") as error:
        check_readable(path)
    assert "\n" not in str(error.value)
    return str(error.value).partition("mine.yaml")[2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TWICE, ", line 5: datasets.digits.training is given in line 3 already; keep one of them"),
        ("a: {x: 1, x: 2}\n", ", line 1: a.x is given in line 1 already"),
        ("a:\n- {x: 1}\n- x: 1\n  x: 2\n", ", line 4: a.1.x is given in line 3 already"),
        (json.dumps({"a": 1})[:-1] + ', "a": 2}', ", key 'a' is given twice"),
        ("a: 1\n# m\xf6glich\n".encode("latin-1"), ", line 2: byte 0xf6 is not UTF-8; save"),
        ("a: 1\n".encode("utf-16"), ", line 1: byte 0xff is not UTF-8"),
        ("a: 1\nb:\n\tc: 2\n", ", line 3: a tab; YAML wants spaces"),
        ("a:\n  b:\n  \tc: 2\n", ", line 3: a tab; YAML wants spaces"),
        ("a: 1\nb: [1, 2\nc: 3\n", ", line 2: the [ is not closed up to line 3"),
        ("a: 1\nb: {c: 1\n", ", line 2: the { is not closed to the end of the file"),
        ('a: 1\nb: "c\n', ', line 2: the " is not closed to the end of the file'),
        ("a: 1\nb: c: 2\n", ", line 2: mapping values are not allowed here"),
        ("a: \0\n", ", character 0x0, which YAML does not allow"),
        ("", ", line 1: no keys at the top level"),
        ("only text", ", line 1: no keys at the top level"),
        ("- a\n", ", line 1: no keys at the top level"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, content, said):
    assert complaint(tmp_path, content).startswith(said)


@pytest.mark.parametrize(
    "content",
    [
        "a: 1\nb: {a: 1}\n",
        "a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2}\n",
        "a: &x [*x]\n",
        "\ufeffa: 1\n",
        '{\n\t"a": {"b": 1},\n\t"b": 2}',
        "a: λ\n1: x\n'1': y\n",
    ],
)
def test_what_is_right_is_let(tmp_path, content):
    path = tmp_path / "right.yaml"
    path.write_text(content, encoding="utf-8")
    check_readable(path)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^cannot read the config no.yaml: No such file"):
        check_readable(tmp_path / "no.yaml")
    with pytest.raises(ValueError, match="Is a directory"):
        check_readable(tmp_path)
