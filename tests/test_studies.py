"""The analysis notebooks run headlessly with tiny parameters and write what they promise."""
from pathlib import Path

import pytest

from gan_compress.study import DEFAULT, STUDIES, analysis_folder, run_study

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
             detail="page", detail_rates=[0.5], megapixels=[0.02, 0.04], damaged=["page"], trials=1, jobs=1),
        ["table_4_1_at_0.5_bpp.csv", "detail_at_0.5_bpp.png", "curves_psnr_ssim.svg", "curves_psnr_ssim_others.svg",
         "bd_rates.csv", "costs.csv", "rows.jsonl", "crops_at_0.5_bpp.png", "hd_at_equal_bytes.csv", "hd_sizes.svg",
         "damage.csv", "damage.png"]),
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
