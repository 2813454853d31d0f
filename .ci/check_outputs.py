"""Every figure and table of a config is there, can be read and is not empty.

python .ci/check_outputs.py config/demo.yaml
"""

import sys
from pathlib import Path

import matplotlib.image
import pandas as pd
import yaml

from hebae.config.parse import parse
from hebae.tables.collect import tables_of

schema = yaml.safe_load(Path("workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
experiment = parse(yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8")), schema).experiment
wrong = []
for figure in experiment.figures:
    path = Path("figures", experiment.name, figure)
    pdf, png = path.with_suffix(".pdf"), path.with_suffix(".png")
    if not (
        pdf.is_file() and pdf.read_bytes().startswith(b"%PDF") and b"%%EOF" in pdf.read_bytes()
    ):
        wrong.append(f"{pdf}: missing, or no PDF")
    if not png.is_file() or matplotlib.image.imread(png).std() < 0.01:
        wrong.append(f"{png}: missing, or blank")
tables = tables_of(experiment)
for name, table in tables.items():
    path = Path("results", experiment.name, "tables", f"{name}.csv")
    expected = {(run.dataset, run.model) for run in table.runs(experiment)}
    rows = pd.read_csv(path) if path.is_file() else pd.DataFrame({"dataset": [], "model": []})
    if set(zip(rows.dataset, rows.model, strict=True)) != expected:
        wrong.append(f"{path}: missing, or not of the models {sorted(expected)}")
if wrong:
    sys.exit("\n".join(wrong))
print(f"{len(experiment.figures)} figures and {len(tables)} tables of {experiment.name} are there")
