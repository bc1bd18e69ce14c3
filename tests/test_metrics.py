"""The metrics against their authors' programs, and on everything that is not an ordinary pair of photographs."""
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_compress import metrics
from gan_compress.images import load
from gan_compress.metrics import LEAST_SIDE, METRICS, Scores, measure

HERE = Path(__file__).parent / "reference"
IDEAL = {name: 1 for name in METRICS} | {"psnr": math.inf, "gmsd": 0}
OURS = { # name in metrics.json -> our function and options
    "psnr_rgb": ("psnr", {}), "psnr_y": ("psnr", {"channels": "luma"}),
    "ssim_y": ("ssim", {}), "ssim_rgb": ("ssim", {"channels": "rgb"}),
    "ms_ssim_y": ("ms_ssim", {}), "ms_ssim_rgb": ("ms_ssim", {"channels": "rgb"}),
} | {name: (name, {}) for name in ("fsim", "fsimc", "gmsd", "gmsm", "rfsim")}


def shared_pairs():
    "All reference pairs: GAN_COMPRESS_REFERENCE, or `reference` beside GAN_COMPRESS_DATA; None if there is no folder."
    folder = os.environ.get("GAN_COMPRESS_REFERENCE")
    if not folder and os.environ.get("GAN_COMPRESS_DATA"):
        folder = Path(os.environ["GAN_COMPRESS_DATA"]).parent / "reference"
    folder = folder and Path(folder) / "metrics"
    return folder if folder and (folder / "metrics.json").exists() else None


def agree(folder, pair, table):
    "Every value of a pair is met within the tolerance that the table gives for it."
    reference, distorted = load(folder / pair["reference"]), load(folder / pair["distorted"])
    for name, (function, options) in OURS.items():
        value = getattr(metrics, function)(reference, distorted, **options)
        expected = float(pair["values"][name])
        close = value == expected or abs(value - expected) <= table[name]["tolerance"]
        assert close, (pair["name"], name, value, expected)


def pairs_of(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("pair", pairs_of(HERE)["pairs"], ids=lambda p: p["name"])
def test_authors_values(pair):
    agree(HERE, pair, pairs_of(HERE)["metrics"])


def test_authors_values_of_all_pairs():
    folder = shared_pairs()
    if folder is None:
        pytest.skip("NOT TESTED: all reference pairs; "
                    "set GAN_COMPRESS_REFERENCE to the folder that holds metrics/metrics.json")
    table = pairs_of(folder)
    assert len(table["pairs"]) >= 13
    for pair in table["pairs"]: agree(folder, pair, table["metrics"])


@pytest.mark.parametrize("seed", range(10))
def test_scikit_image_agrees(seed):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(11, 90, 2), 3)
    x = rng.integers(0, 256, shape, np.uint8)
    y = np.clip(x + rng.normal(0, rng.uniform(1, 60), shape), 0, 255).astype(np.uint8)
    assert abs(metrics.psnr(x, y) - peak_signal_noise_ratio(x, y, data_range=255)) < 1e-9
    options = dict(gaussian_weights=True, use_sample_covariance=False, data_range=255)
    assert abs(metrics.ssim(x, y, channels="rgb") - structural_similarity(x, y, channel_axis=2, **options)) < 1e-9
    assert abs(metrics.ssim(x[..., 0], y[..., 0]) - structural_similarity(x[..., 0], y[..., 0], **options)) < 1e-9


@pytest.mark.parametrize("shape", [(176, 176), (177, 203, 3), (300, 400, 3), (513, 385)])
@pytest.mark.parametrize("content", ["black", "white", "grey", "noise", "ramp"])
def test_identical_pictures_are_ideal(shape, content):
    x = np.full(shape, {"black": 0, "white": 255}.get(content, 127), np.uint8)
    if content == "noise": x = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if content == "ramp": x[:] = np.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2)) % 256
    assert vars(Scores(x, x.copy())) == IDEAL


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 40), st.integers(6, 40), st.booleans(), st.integers(0, 255), st.integers(0, 255),
       st.integers(0, 2 ** 32 - 1))
def test_finite_and_in_range(h, w, colour, level, other, seed):
    "Flat and busy pictures against each other: never NaN, always in the range that the docstring names."
    rng = np.random.default_rng(seed)
    shape = (h, w, 3) if colour else (h, w)
    pictures = [np.full(shape, level, np.uint8), np.full(shape, other, np.uint8), rng.integers(0, 256, shape, np.uint8)]
    names = [name for name in METRICS if min(h, w) >= LEAST_SIDE[name]]
    for x in pictures:
        for y in pictures:
            values = measure(x, y, names)
            assert values["psnr"] >= 0
            for name in names[1:]:
                assert (-1 if name in ("ssim", "rfsim") else 0) <= values[name] <= 1 + 1e-12, (name, values)
            assert values["gmsd"] <= .53 # 0.5 sqrt(N / (N - 1)) on the smallest map


@pytest.mark.parametrize("name", METRICS)
def test_bad_pairs_are_refused_with_their_sizes(name):
    function = getattr(metrics, name)
    x = np.zeros((200, 180, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\(200, 180, 3\).*\(180, 200, 3\)"): function(x, x.swapaxes(0, 1))
    with pytest.raises(ValueError, match=r"\(200, 180, 3\).*\(200, 180\)"): function(x, x[..., 0])
    with pytest.raises(ValueError, match="uint8"): function(x, x.astype(np.float32))
    with pytest.raises(ValueError, match="uint8"): function(x.astype(np.uint16), x.astype(np.uint16))
    rgba = np.zeros((200, 180, 4), np.uint8)
    with pytest.raises(ValueError, match="RGBA"): function(rgba, rgba)
    with pytest.raises(ValueError, match="empty"): function(x[:0], x[:0])
    least = LEAST_SIDE[name]
    function(x[:least, :least], x[:least, :least])
    if least > 1:
        with pytest.raises(ValueError, match=f"at least {least}x{least} pixels, got {least - 1}x180"):
            function(x[:least - 1], x[:least - 1])


def test_unknown_names_are_refused():
    x = np.zeros((16, 16), np.uint8)
    with pytest.raises(ValueError, match="no metric is called 'lpips'"): measure(x, x, ("psnr", "lpips"))
    for function in (metrics.psnr, metrics.ssim):
        with pytest.raises(ValueError, match='"rgb" or "luma"'): function(x, x, channels="y")


def test_measure_and_scores_are_the_single_functions():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (2, 190, 211, 3), np.uint8)
    single = {name: getattr(metrics, name)(x, y) for name in METRICS}
    assert measure(x, y) == single == vars(Scores(x, y))
    assert list(measure(x, y, ("gmsm", "psnr"))) == ["gmsm", "psnr"]
