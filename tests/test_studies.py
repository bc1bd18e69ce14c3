"""The analysis notebooks run headlessly with tiny parameters and write what they promise."""
import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from gan_compress.metrics import ocr_available
from gan_compress.study import DEFAULT, STUDIES, Output, _settings, analysis_folder, list_results
from gan_compress.study import run_studies, run_study

TINY = {
    "gan_study": (
        dict(kinds=["cgan", "sgan"], train_pictures=96, test_pictures=64, epochs=1, base=4, n_judged=64,
             kid_pictures=32),
        ["summary.md", "data.csv", "pictures.csv", "data.png", "00.png"]),
    "compression_study": (
        dict(picture="chelsea", crop=[], quality=[10, 40, 70, 90], codecs=["dct", "kmeans", "jpeg", "png"], jobs=1),
        ["equal_bytes.png", "equal_bytes.csv", "thresholds.csv", "curves.svg", "which_one_when.csv", "rows.jsonl"]),
    "hybrid_study": (
        dict(picture="page", rates=[0.5], pictures=["chelsea"], qualities=[10, 30, 60, 90],
             codecs=["dct", "jpeg", "mediancut"], metrics=["psnr", "ssim"], references=["default jpeg", "jpeg"],
             megapixels=[0.02, 0.04], damaged=["page"], trials=1, jobs=1),
        ["table_4_1_at_0.5_bpp.csv", "detail_at_0.5_bpp.png", "curves_psnr_ssim.svg", "curves_psnr_ssim_others.svg",
         "bd_rates.csv", "costs.csv", "rows.jsonl", "hd_at_equal_bytes.csv", "hd_sizes.svg",
         "damage.csv", "damage.png"]),
    "field_study": (
        dict(pictures=["page"], qualities=[10, 30, 60, 90], codecs=["avif", "jpeg"], eye=["ssimulacra2", "ms_ssim"],
             others=["ssim"], equal_rates=[0.5], equal_rate=0.5, judged=["hybrid", "avif", "jpeg"], detail="page",
             places=[["page", 60, 80]], beside=["hybrid", "jpeg"], jobs=1),
        ["rows.jsonl", "rows.csv.gz", "bd_rates_psnr.csv", "bd_rates_eye.csv", "bd_rate_over_time.svg",
         "curves_psnr_ssimulacra2.svg", "equal_bytes.csv", "crops_at_0.5_bpp.png", "closer_page.png", "about.json"]),
    "kinds_study": (
        dict(pictures=["page", "chart"], qualities=[10, 40, 70, 92], codecs=["avif", "jpeg"], exact=["webp", "png"],
             least=[60, 40], read_rates=[1.0], readers=["hybrid"], details=[], seen=["jpeg"], jobs=1),
        ["rows.jsonl", "rows.csv.gz", "rates.csv", "bd_rates.csv", "curves_text_scan.svg", "crop_drawing.png",
         "about.json", *(["legibility.csv", "read.csv"] if ocr_available() else [])]),
    "hybrid_ablation": (
        dict(n_fit=1, n_test=1, fit_steps=[30], steps=[15, 25, 40, 60],
             parts=["edge filter", "rotation to the DCT", "three levels"], shrink_rates=[0.2]),
        ["rows.csv", "ablation.csv", "ablation.svg", "half_size.csv"]),
}


def test_every_study_is_tested():
    there = {p.stem for p in analysis_folder().glob("*.ipynb")}
    assert set(STUDIES) == set(TINY) == there
    assert set(STUDIES) - set(DEFAULT) == {"hybrid_ablation"}  # too long for `make study`


@pytest.mark.parametrize("name", TINY)
def test_study_runs_and_writes(name, tmp_path):
    parameters, files = TINY[name]
    report = run_study(name, tmp_path / name, **parameters)
    assert report.stat().st_size > 10_000
    there = {p.name for p in Path(tmp_path / name).rglob("*")}
    assert set(files) <= there, there


@pytest.mark.parametrize("last, said", [("1 / 0", "stopped at cell 2: ZeroDivisionError"),
                                        ("import os; os._exit(1)", "was ended from outside")])
def test_a_study_that_fails_leaves_whole_files(tmp_path, last, said):
    nbformat.write(new_notebook(cells=[new_code_cell("print(1)"), new_code_cell(last)]), tmp_path / "small.ipynb")
    with pytest.raises(ValueError, match=said): run_study(tmp_path / "small.ipynb", tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} <= {"small.ipynb", "log.txt"}
    for file in (tmp_path / "out").glob("*.ipynb"): json.loads(file.read_text())


def test_wrong_wishes_and_hidden_files(tmp_path):
    with pytest.raises(ValueError, match="jobs must be at least 1"): run_studies(output=tmp_path, jobs=0)
    (tmp_path / ".hidden").mkdir()
    for file in (".hidden/a.png", "._a.png", "table.csv"): (tmp_path / file).write_bytes(b"x")
    with pytest.raises(ValueError, match="no picture in it"): _settings(["hybrid_study"], tmp_path, tmp_path, 1)
    assert list_results(tmp_path / "report.html").split("\n")[1:] == ["        table.csv"]


def test_tables_hold_names_that_are_no_utf8(tmp_path):
    import pandas as pd
    for name in ("t.csv", "t.csv.gz"):
        Output(tmp_path).table(pd.DataFrame({"picture": ["caf\udce9.png"]}), name)
        assert list(pd.read_csv(tmp_path / name).picture) == ["caf\\udce9.png"]
