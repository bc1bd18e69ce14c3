"""Measuring damage: reproducible, resumable, and no decoder can take the run down."""
import signal

import numpy as np
import pandas as pd
import pytest
from PIL import ImageFile

import gan_compress as gc
from gan_compress.images import recode
from gan_compress.metrics import psnr
from gan_compress.plots import degradation_figure
from gan_compress.robustness import Scorer, flip_bits, measure_damage, summarise, truncate, zero_rest

SMALL = dict(bit_error_rates=(1e-4, 1e-2), kept=(.3, .6), trials=2)


@pytest.fixture(scope="module")
def picture():
    y, x = np.mgrid[:48, :64]
    noise = np.random.default_rng(0).normal(0, 6, (48, 64, 3))
    return np.clip(np.stack([2 * x + y, 3 * y, 255 - 3 * x], -1) + noise, 0, 255).astype(np.uint8)


def coded(image, format, **options): return recode(image, format, **options)[0]


@pytest.fixture(scope="module")
def rows(picture):
    files = {f: coded(picture, f, quality=60) for f in ("JPEG", "WEBP", "AVIF")}
    files |= {f: coded(picture, f) for f in ("JPEG2000", "PNG")}
    return measure_damage(picture, files, **SMALL)


def test_damage_is_reproducible_and_nested():
    data = np.random.default_rng(1).bytes(5000)

    def flipped(p): return flip_bits(data, p, np.random.default_rng(2))

    a, b = (np.frombuffer(flipped(p), np.uint8) ^ np.frombuffer(data, np.uint8) for p in (1e-3, 1e-2))
    assert a.any() and ((a & b) == a).all() and flipped(1e-3) == flipped(1e-3)
    assert truncate(data, 1) == zero_rest(data, 1) == data
    assert truncate(data, 0) == b"" and zero_rest(data, 0) == bytes(5000)
    for bad in (-.1, 1.1, float("nan")):
        with pytest.raises(ValueError): flip_bits(data, bad, np.random.default_rng())
        with pytest.raises(ValueError): truncate(data, bad)


def test_rows_are_complete(rows, picture):
    assert len(rows) == 5 * (2 * 2 + 2 * 3)
    whole = rows[(rows.level == 1) & (rows.damage == "cut")].set_index("codec")
    assert whole.decoded.all() and np.isinf(whole.psnr["PNG"]) and whole.ssim["PNG"] == 1
    assert (rows.decoded == (rows.reason == "")).all() and (rows.decoded == rows.psnr.notna()).all()
    assert rows.psnr_or_grey.notna().all() and rows.ssim_or_grey.notna().all()
    grey = rows.loc[~rows.decoded, "psnr_or_grey"]
    assert len(grey) and np.allclose(grey, psnr(picture, np.full_like(picture, 128)))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_summary_and_figure(rows):
    import matplotlib
    matplotlib.use("Agg")
    table = summarise(rows)
    assert table.decodable.between(0, 1).all() and table.psnr_or_grey.le(60).all()
    one = table[(table.codec == "JPEG") & (table.damage == "bits") & (table.level == 1e-4)].iloc[0]
    same = rows[(rows.codec == "JPEG") & (rows.damage == "bits") & (rows.level == 1e-4)]
    assert one.n == 2 and np.isclose(one.psnr_or_grey, same.psnr_or_grey.mean())
    assert len(degradation_figure(rows).axes) == 9


def test_resumes_and_does_not_depend_on_what_else_is_measured(picture, tmp_path):
    path, jpeg = tmp_path / "rows.csv", {"JPEG": coded(picture, "JPEG")}
    first = measure_damage(picture, jpeg, **SMALL | {"kept": (.3,)}, path=path)
    text = path.read_text()
    assert measure_damage(picture, jpeg, **SMALL | {"kept": (.3,)}, path=path).equals(first)
    assert path.read_text() == text
    both = measure_damage(picture, jpeg | {"PNG": coded(picture, "PNG")}, **SMALL, path=path)
    fresh = measure_damage(picture, jpeg | {"PNG": coded(picture, "PNG")}, **SMALL, n_jobs=2)
    pd.testing.assert_frame_equal(both, fresh)
    other = measure_damage(picture, jpeg, **SMALL, seed=1)
    assert (other.psnr_or_grey != fresh[fresh.codec == "JPEG"].psnr_or_grey).any()


def test_a_dead_or_silent_decoder_costs_one_file(picture):
    jpeg = coded(picture, "JPEG")
    with Scorer(picture) as score:
        good = score(jpeg, "JPEG")
        assert good.reason == "" and good.psnr > 20
        score.child.kill()
        assert score(jpeg, "JPEG").reason == "the decoder crashed"
        assert score(jpeg, "JPEG") == good
        score.timeout = .3
        score.child.send_signal(signal.SIGSTOP)
        assert score(jpeg, "JPEG").reason == "no answer in 0.3 s"
        score.timeout = 20
        assert score(jpeg, "JPEG") == good
        assert "has become" in score(coded(picture[:40], "JPEG"), "JPEG").reason


def test_grey_pictures(picture):
    rows = measure_damage(picture[..., 0], {"JPEG": coded(picture[..., 0], "JPEG")}, **SMALL)
    assert rows.psnr[(rows.level == 1)].gt(20).all()


def test_our_own_files(picture):
    pytest.importorskip("gan_compress.codecs.dct")
    data = gc.encode(picture, "dct", quality=60)
    rows = measure_damage(picture, {"dct": data}, **SMALL)
    assert rows.decoded[rows.level == 1].all() and rows.decoder.str.startswith("gan_compress ").all()


def test_bad_input(picture):
    with pytest.raises(ValueError, match="a picture that Pillow reads"):
        measure_damage(picture, {"text": b"no picture at all"}, **SMALL)
    with pytest.raises(ValueError, match="does not decode even when it is whole"):
        measure_damage(picture, {"other": coded(picture[:40], "JPEG")}, **SMALL)
    with pytest.raises(ValueError, match="the picture has become"):
        measure_damage(np.dstack([picture, picture[..., 0]]), {"PNG": coded(picture, "PNG")}, **SMALL)
