"""Means, intervals and BD-rates with known answers."""
import numpy as np
import pandas as pd
import pytest

from gan_compress.statistics import bd_rate, bd_table, bootstrap_interval, summary


def curves(factor, n=6, label="test", shift=0., seed=0):
    "Rows of a codec that needs `factor` times the bytes of a common curve, over `n` pictures."
    difficulty = np.random.default_rng(seed).uniform(-2, 2, n)
    quality = np.arange(10, 90, 10.)
    asked = {"label": label, "codec": label, "parameters": "{}", "target_bpp": np.nan, "bytes": 0, "fits": True}
    costs = {"encode_s_mp": 1., "decode_s_mp": 1., "peak_mib": 1.}
    return pd.DataFrame([
        {"picture": f"{i}", **asked, "quality": q, "bpp": factor * 2 ** (q / 20),
         "psnr": 25 + shift + q / 8 + difficulty[i], "gmsd": .2 * .97 ** q, "ssim": 1 - .4 * .97 ** q,
         "ssimulacra2": 90 - 2000 / (q + 10) + difficulty[i], **costs}
        for i in range(n) for q in quality
    ])


@pytest.mark.parametrize("metric", ["psnr", "ssim", "gmsd", "ssimulacra2"]) # the last one begins below zero
def test_bd_rate_of_a_known_saving(metric):
    df = pd.concat([curves(1, label="reference"), curves(.7)])
    bd = bd_rate(df, "reference", "test", metric)
    assert bd.pictures == 6
    assert (bd.percent, bd.percent_low, bd.percent_high) == pytest.approx((-30, -30, -30))
    assert bd_rate(df, "test", "reference", metric).percent == pytest.approx(100 / .7 - 100)


def test_bd_rate_against_a_published_curve_and_within_limits():
    df = pd.concat([curves(1, label="reference"), curves(.7)])
    mean = summary(df[df.label == "reference"])
    assert bd_rate(df, (mean.bpp, mean.psnr), "test").percent == pytest.approx(-30)
    bd = bd_rate(df, "reference", "test", limits=(28, 31))
    assert (bd.quality_low, bd.quality_high) == (28, 31) and bd.percent == pytest.approx(-30)


def test_bd_rate_is_refused_where_it_would_be_a_fiction():
    far, others = curves(1, label="far", shift=40), curves(1, label="other pictures")
    others = others.assign(picture="other " + others.picture)
    falling = curves(.9, label="falling")
    falling.loc[falling.quality == 50, "psnr"] -= 9
    short = curves(.9, label="short").query("quality < 35")
    df = pd.concat([curves(1, label="reference"), far, others, curves(.9), falling, short])
    for label, why in {"far": "do not overlap", "other pictures": "same pictures", "falling": "does not rise",
                       "short": "3 points", "absent": "no curve 'absent'"}.items():
        with pytest.raises(ValueError, match=why): bd_rate(df, "reference", label)
    with pytest.raises(ValueError, match="do not overlap within 60 to 70"):
        bd_rate(df, "reference", "test", limits=(60, 70))
    with pytest.raises(ValueError, match="no metric 'fsim'"): bd_rate(df, "reference", "test", "fsim")
    table = bd_table(df, "reference").set_index("label")
    assert table.percent["test"] == pytest.approx(-10) and table.percent.isna().sum() == 4
    assert "do not overlap" in table.why["far"]


def test_targets_are_settings_of_their_own():
    "What was asked as a quality, asked as a target; and a table of both."
    df = pd.concat([curves(1, label="reference"), curves(.7)])
    asked = df.assign(quality=np.nan, target_metric="psnr", target_value=df.quality)
    assert bd_rate(asked, "reference", "test") == bd_rate(df, "reference", "test")
    means, of_targets = summary(df), summary(asked)
    assert "target_value" not in means and list(of_targets.target_value) == list(means.quality)
    assert of_targets.psnr.equals(means.psnr) and set(of_targets.target_metric) == {"psnr"}
    both = pd.concat([df.assign(target_metric="", target_value=np.nan), asked])
    assert len(summary(both)) == 2 * len(means)
    assert "target_metric" not in summary(df.assign(target_metric="", target_value=np.nan))


def test_costs_may_be_missing():
    df = curves(1)
    assert list(summary(df).columns[-3:]) == ["encode_s_mp", "decode_s_mp", "peak_mib"]
    without = df.drop(columns=["encode_s_mp", "decode_s_mp", "peak_mib"])
    assert list(summary(without).columns[-1:]) == ["ssimulacra2_high"]


def test_rates_that_some_picture_missed_stay_out_of_curves():
    df = pd.concat([curves(1, label="reference"), curves(.5)])
    df.loc[(df.label == "test") & (df.quality == 20) & (df.picture == "3"), ["fits", "bpp"]] = False, 99.
    assert bd_rate(df, "reference", "test").percent == pytest.approx(-50, abs=.1)


def test_only_the_same_pictures_are_compared():
    df = pd.concat([curves(1, label="reference"), curves(.7).query("picture != '2'")])
    with pytest.warns(UserWarning, match=r"both reference and test: 1 of 6 pictures \(2\)"):
        bd = bd_rate(df, "reference", "test")
    assert bd.pictures == 5 and bd.percent == pytest.approx(-30)
    with pytest.warns(UserWarning, match="every label at every rate: 1 of 6 pictures"): means = summary(df)
    assert set(means.pictures) == {5}
    assert means[means.label == "test"].psnr.to_numpy() == pytest.approx(means[means.label == "reference"].psnr)
    apart = pd.concat([curves(1).query("picture == '1'"), curves(1, label="b").query("picture == '2'")])
    with pytest.warns(UserWarning, match="the means are over different pictures"): assert len(summary(apart)) == 16


def test_intervals_cover_the_mean():
    "With 40 pictures the 95 % interval should hold the true mean in about 95 of 100 worlds."
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.normal(30, 2, 40))
        covered += low <= 30 <= high
    assert .9 <= covered / 300 <= .98
