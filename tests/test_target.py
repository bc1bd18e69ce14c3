"""`encode(target=...)`: every lossy codec reaches the value, in few encodes, and what cannot be is said."""
import math

import numpy as np
import pytest

import gan_compress as gc
from gan_compress import codec as codec_module
from gan_compress.codec import Target, check_settings, codec_class, fit_target
from gan_compress.images import resize, sample
from gan_compress.metrics import METRICS, OPTIONAL, measure

LOSSY = [n for n in gc.list_codecs() if codec_class(n).quality_step is not None]
PALETTES = ("kmeans", "mediancut")
WANDERING = (*PALETTES, "avif")                     # their score stands still, or falls, over several steps of quality
PHOTO = resize(sample("chelsea"), (96, 144))


@pytest.fixture
def encodes(monkeypatch):
    "A list that grows by one size with every file that is made."
    sizes, whole = [], codec_module._file

    def counted(*args):
        sizes.append(len(file := whole(*args)))
        return file

    monkeypatch.setattr(codec_module, "_file", counted)
    return sizes


def score(image, data, metric): return measure(image, gc.decode(data), [metric])[metric]


@pytest.mark.parametrize("codec", LOSSY)
def test_every_lossy_codec_reaches_its_target_in_few_encodes(codec, encodes):
    data = gc.encode(PHOTO, codec, target={"psnr": 27})
    assert 27 <= score(PHOTO, data, "psnr") < (29 if codec in PALETTES else 27.6)
    assert len(encodes) <= (12 if codec in WANDERING else 8)
    assert len(data) <= encodes[0] or score(PHOTO, gc.encode(PHOTO, codec, quality=50), "psnr") < 27


@pytest.mark.parametrize("metric, value", [("ssimulacra2", 60), ("gmsd", 0.05), ("ssim", 0.9), ("ms_ssim", 0.97),
                                           ("psnr_hvs_m", 34), ("haarpsi", 0.9), ("fsimc", 0.97)])
@pytest.mark.parametrize("codec", ["jpeg", "webp", "jpeg2000"])
def test_every_metric_in_its_own_direction(codec, metric, value, encodes):
    image = sample("coffee")[100:276, 200:376]
    data, n = gc.encode(image, codec, target={metric: value}), len(encodes)
    reached = score(image, data, metric)
    assert reached <= value if metric == "gmsd" else reached >= value
    assert n <= 8


def quality_of(data, codec, tried):
    "The least quality tried that makes this file."
    return min(q for q in tried if gc.encode(PHOTO, codec, quality=q) == data)


@pytest.fixture
def tried(monkeypatch):
    "A list of the qualities that a codec was made for."
    qualities, whole = [], codec_module.make_codec

    def noted(name, /, **params):
        if params.get("quality"): qualities.append(params["quality"])
        return whole(name, **params)

    monkeypatch.setattr(codec_module, "make_codec", noted)
    return qualities


@pytest.mark.parametrize("codec, metric, value", [("jpeg", "psnr", 30), ("jpeg", "ssimulacra2", 70),
                                                  ("jpeg", "gmsd", 0.04), ("avif", "psnr", 33)])
def test_the_next_coarser_step_misses(codec, metric, value, tried):
    target = Target(metric, value)
    data = gc.encode(PHOTO, codec, target={metric: value})
    q = quality_of(data, codec, list(tried))
    assert q == int(q) and target.reached(target.measure(PHOTO, data))
    assert not target.reached(target.measure(PHOTO, gc.encode(PHOTO, codec, quality=q - 1)))


@pytest.mark.parametrize("codec", ["dct", "hybrid"])
def test_a_file_has_hardly_more_bytes_than_the_exact_target_needs(codec, tried):
    data = gc.encode(PHOTO, codec, target={"psnr": 29})
    q = quality_of(data, codec, list(tried))
    for lower in (0.9, 0.95, 0.97, 0.98, 0.99):
        file = gc.encode(PHOTO, codec, quality=lower * q)
        assert score(PHOTO, file, "psnr") < 29 or len(file) > 0.985 * len(data), lower


@pytest.mark.parametrize("slope", [0.2, 0.7, 1.5])
@pytest.mark.parametrize("wanted", [1, 3, 20, 50, 90, 99.4])
def test_the_search_on_curves_of_any_slope(slope, wanted):
    def decibels(q): return 30 - 10 * slope * codec_module._log_step(q) / math.log(10)

    tried = []
    file, best, q = fit_target(lambda q: tried.append(q) or b"x" * int(9000 * math.exp(-codec_module._log_step(q))),
                               lambda file: decibels(tried[-1]), 1 / 256, Target("psnr", decibels(wanted)))
    exact = 9000 * math.exp(-codec_module._log_step(wanted))
    assert len(tried) <= 8 and exact - 1 <= len(file) <= 1.02 * exact + 2
    assert best == decibels(q)


def test_what_cannot_be_reached_names_the_best(encodes):
    best = score(PHOTO, gc.encode(PHOTO, "jpeg", quality=100), "psnr")
    words = rf"target psnr=60 cannot be reached: the best of codec 'jpeg' .* is {best:.4g} dB at quality 100"
    for value in (60, math.inf):
        encodes.clear()
        with pytest.raises(ValueError, match=words.replace("60", f"{value:g}")):
            gc.encode(PHOTO, "jpeg", target={"psnr": value})
        assert len(encodes) <= 3


def test_targets_that_anything_reaches_give_quality_1():
    for target in ({"psnr": 1}, {"gmsd": 0.5}, {"ssimulacra2": -1e9}):
        for codec in ("jpeg", "webp"):
            assert gc.encode(PHOTO, codec, target=target) == gc.encode(PHOTO, codec, quality=1)


def test_lossless_codecs_are_encoded_once(encodes):
    for target in ({"psnr": math.inf}, {"ssim": 1}, {"gmsd": 0}, {"ssimulacra2": 100}):
        encodes.clear()
        data = gc.encode(PHOTO, "png", target=target)
        assert len(encodes) == 1 and data == gc.encode(PHOTO, "png")


def test_flat_pictures_reach_perfection():
    flat = np.full((40, 40, 3), 128, np.uint8)
    assert len(gc.encode(flat, "jpeg", target={"psnr": math.inf})) < 1000


def test_rgba_and_grey_pictures():
    grey = PHOTO[..., 1].copy()
    alpha = np.dstack([PHOTO, np.tile(np.linspace(0, 255, 144).astype(np.uint8), (96, 1))])
    for image in (grey, alpha):
        for codec, metric, value in (("jpeg", "ssimulacra2", 60), ("hybrid", "psnr", 28)):
            data = gc.encode(image, codec, target={metric: value})
            assert gc.decode(data).shape == image.shape and score(image, data, metric) >= value


def test_options_of_the_codec_are_kept():
    data = gc.encode(PHOTO, "hybrid", target={"psnr": 29}, networks="none")
    assert gc.inspect(data)["network roles"] == "none" and score(PHOTO, data, "psnr") >= 29


def test_every_metric_has_a_range():
    for metric in METRICS + OPTIONAL: assert codec_module._RANGE[metric][0] != codec_module._RANGE[metric][1]
    identical = measure(sample("camera"), sample("camera"), METRICS)
    for metric, value in identical.items(): assert Target(metric, codec_module._RANGE[metric][1]).reached(value)


@pytest.mark.parametrize("settings, words", [
    ({"target": {"beauty": 1}}, "no metric is called 'beauty'"),
    ({"target": {"psnr": 30, "ssim": 0.9}}, "target must name one metric and its value"),
    ({"target": {}}, "target must name one metric and its value"),
    ({"target": "psnr"}, "target must name one metric and its value, like .* got 'psnr'"),
    ({"target": ("psnr", 30)}, "target must name one metric"),
    ({"target": {"psnr": math.nan}}, "target psnr must be a number in 0..inf, got nan"),
    ({"target": {"psnr": "30"}}, "target psnr must be a number in 0..inf, got '30'"),
    ({"target": {"psnr": True}}, "got True"),
    ({"target": {"ssim": 2}}, "target ssim must be a number in -1..1, got 2"),
    ({"target": {"gmsd": -0.1}}, "target gmsd must be a number in 0..0.5, got -0.1"),
    ({"target": {"ssimulacra2": 101}}, "target ssimulacra2 must be a number in -inf..100, got 101"),
    ({"target": {"ssimulacra2": -math.inf}}, "got -inf"),
    ({"target": {"psnr": 30}, "bpp": 1}, "bpp and target exclude each other"),
    ({"target": {"psnr": 30}, "quality": 50}, "target and quality exclude each other"),
    ({"target": {"psnr": 30}, "threshold": 0.1}, "target and threshold exclude each other"),
])
def test_refusals(settings, words):
    for call in (lambda: gc.encode(PHOTO, "dct", **settings), lambda: check_settings("dct", **settings)):
        with pytest.raises(ValueError, match=words): call()


def test_a_picture_that_is_too_small_for_the_metric():
    with pytest.raises(ValueError, match="ms_ssim needs pictures of at least 176x176 pixels, got 96x144"):
        gc.encode(PHOTO, "jpeg", target={"ms_ssim": 0.9})
