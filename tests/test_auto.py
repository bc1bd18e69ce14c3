"""What serves a picture better than the hybrid: the hint of `encode`, and `encode(image, "auto")`."""
import math
import time
import warnings

import numpy as np
import pytest

import gan_compress as gc
from gan_compress import codec as codec_module
from gan_compress.codec import AUTO, BetterCodec, OutOfReach, check_settings, codec_class, make_codec
from gan_compress.images import clear_hidden, on_white, resize, sample


def few(image, n): return gc.decode(gc.encode(image, "kmeans", colors=n))


def glass(image):
    "A picture with a transparent disc."
    y, x = np.mgrid[:image.shape[0], :image.shape[1]]
    return np.dstack([image, np.where(np.hypot(y - 70, x - 90) < 40, 0, 255).astype(np.uint8)])


SCAN = few(sample("page"), 2)                                              # grey, two colours
BLUE = np.where(SCAN[..., None] > 128, np.uint8([250, 250, 240]), np.uint8([0, 0, 120]))
DRAWING = few(on_white(sample("logo"))[100:260, 100:260], 12)
FEW = {"scan": SCAN, "scan in blue": BLUE, "drawing": DRAWING, "drawing, rgba": glass(few(DRAWING, 8))}
MANY = {"photograph": sample("chelsea"), "grey photograph": sample("camera"), "screen": sample("shop")[:200, :300],
        "photograph, rgba": glass(sample("coffee")), "grey scan": sample("letter")}


def coded(image, codec="hybrid", **settings): return gc.encode(image, codec, advise=False, **settings)


def hints(image, *args, **settings):
    "The file, and the hints that came with it."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = gc.encode(image, *args, **settings)
    assert all(w.category is BetterCodec for w in caught)
    return data, caught


@pytest.fixture
def files(monkeypatch):
    "A list of the names of the codecs whose files are made."
    made, whole = [], codec_module._file

    def noted(codec, *args):
        made.append(codec.name)
        return whole(codec, *args)

    monkeypatch.setattr(codec_module, "_file", noted)
    return made


@pytest.mark.parametrize("name, settings", [
    *((name, {}) for name in FEW), ("scan", {"bpp": 1}), ("scan", {"step": 9.0}), ("scan", {"target": {"psnr": 32}})])
def test_a_hint_tells_what_to_type_and_is_true(name, settings):
    image = FEW[name]
    data, caught = hints(image, **settings)
    n = len(np.unique(clear_hidden(image).reshape(image.shape[0] * image.shape[1], -1)[:, :3], axis=0))
    exact = gc.encode(image, "kmeans", colors=n)
    assert len(exact) <= len(data) and data == coded(image, **settings)
    assert np.array_equal(gc.decode(exact), clear_hidden(image))
    assert [w.filename for w in caught] == [__file__]
    assert str(caught[0].message) == (
        f"hybrid takes {len(data)} bytes for this picture of {n} colours, kmeans with colors={n} keeps it exactly in "
        f"{len(exact)}; codec auto makes that choice by itself")


@pytest.mark.parametrize("name", MANY)
def test_no_hint_and_nothing_tried_where_it_would_not_help(name, files):
    assert hints(MANY[name])[1] == [] and files == ["hybrid"]
    assert gc.encode(MANY[name], "auto") == coded(MANY[name]) and set(files) == {"hybrid"}


def test_looking_at_a_photograph_takes_a_hundredth_of_coding_it():
    image = np.tile(sample("coffee"), (2, 2, 1))
    start = time.process_time()
    data = coded(image)
    middle = time.process_time()
    for _ in range(5): codec_module._advise(image, None, data)
    assert (time.process_time() - middle) / 5 < 0.02 * (middle - start)


def test_hints_can_be_switched_off_and_are_given_for_hybrid_alone(files):
    assert hints(SCAN, advise=False)[1] == [] and files == ["hybrid"]
    assert hints(SCAN, "webp")[1] == hints(SCAN, "dct", quality=90)[1] == [] and files == ["hybrid", "webp", "dct"]
    assert hints(SCAN[:40, :40])[1] == []                                   # less than a kilobyte, whatever codes it
    with warnings.catch_warnings():
        warnings.simplefilter("error", BetterCodec)
        with pytest.raises(BetterCodec, match="kmeans with colors=2"):
            gc.encode(SCAN)
        gc.encode(MANY["photograph"])


def test_a_hint_may_name_the_lossless_codec():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    data, caught = hints(noise, quality=100)
    exact = gc.encode(noise, "lossless-range")
    assert str(caught[0].message).startswith(
        f"hybrid takes {len(data)} bytes for this picture, lossless-range keeps it exactly in {len(exact)};")
    assert gc.encode(noise, "auto", quality=100) == exact


@pytest.mark.parametrize("quality", [None, 10, 90])
@pytest.mark.parametrize("name", [*FEW, "photograph"])
def test_auto_is_never_larger_than_hybrid_nor_worse(name, quality):
    image = (FEW | MANY)[name]
    plain, data = coded(image, quality=quality), gc.encode(image, "auto", quality=quality)
    assert len(data) <= len(plain)
    assert data == plain or np.array_equal(gc.decode(data), clear_hidden(image))
    if name in FEW and quality != 10: assert gc.inspect(data)["codec"] == "kmeans"


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 1, 4), (1, 9), (7, 5, 3), (2, 300, 4), (33, 65)])
@pytest.mark.parametrize("levels", [1, 2, 256])
def test_auto_takes_pictures_of_every_size(shape, levels):
    rng = np.random.default_rng(0)
    image = (255 // levels * rng.integers(0, levels, shape)).astype(np.uint8)
    for settings in ({}, {"quality": 1}, {"quality": 100}, {"target": {"psnr": math.inf}}, {"bpp": 4000}):
        data, caught = hints(image, "auto", **settings)
        assert gc.decode(data).shape == shape and not caught
        if "quality" in settings: assert len(data) <= len(coded(image, **settings))
        if "target" in settings or "bpp" in settings: assert np.array_equal(gc.decode(data), clear_hidden(image))


def test_auto_with_a_target():
    photo = resize(sample("chelsea"), (96, 144))
    goal = {"ssimulacra2": 70}
    assert gc.encode(photo, "auto", target=goal) == coded(photo, target=goal)
    data = gc.encode(DRAWING, "auto", target={"ssimulacra2": 95})
    assert gc.inspect(data)["codec"] == "kmeans" and np.array_equal(gc.decode(data), DRAWING)
    with pytest.raises(OutOfReach, match="the best of codec 'hybrid'"):
        gc.encode(photo, "hybrid", target={"psnr": 60})
    data = gc.encode(photo, "auto", target={"psnr": 60})
    assert gc.inspect(data)["codec"] == "lossless-range" and np.array_equal(gc.decode(data), photo)
    with pytest.raises(ValueError, match="ms_ssim needs pictures of at least 176x176 pixels, got 96x144"):
        gc.encode(photo, "auto", target={"ms_ssim": 0.9})


def test_auto_with_a_rate():
    photo, pixels = resize(sample("chelsea"), (96, 144)), 96 * 144
    assert gc.encode(photo, "auto", bpp=1) == coded(photo, bpp=1)
    exact = gc.encode(photo, "lossless-range")
    bpp = 8 * len(exact) / pixels
    assert gc.encode(photo, "auto", bpp=bpp) == exact
    assert gc.inspect(gc.encode(photo, "auto", bpp=0.99 * bpp))["codec"] == "hybrid"
    exact, pixels = gc.encode(DRAWING, "kmeans", colors=12), 160 * 160
    bpp = 8 * len(exact) / pixels
    assert gc.encode(DRAWING, "auto", bpp=bpp) == exact
    assert gc.encode(DRAWING, "auto", bpp=0.9 * bpp) == coded(DRAWING, bpp=0.9 * bpp)
    with pytest.raises(OutOfReach, match="cannot be reached: the least file"):
        gc.encode(photo, "auto", bpp=0.001)


def test_auto_keeps_profile_and_hidden_colours():
    image = FEW["drawing, rgba"]
    data = gc.encode(image, "auto", icc=b"profile", keep_hidden=True)
    assert gc.inspect(data)["icc"] == b"profile" and np.array_equal(gc.decode(data), image)


def test_auto_is_no_codec_and_has_no_parameters():
    from gan_compress.benchmark import run
    assert "auto" not in gc.list_codecs() and set(AUTO) <= set(gc.list_codecs())
    assert check_settings("auto", bpp=1).name == "hybrid" and check_settings("auto", colors=None).name == "hybrid"
    for call in (lambda: codec_class("auto"), lambda: make_codec("auto"),
                 lambda: run({"x": SCAN}, ["jpeg", "auto"], quality=[50])):
        with pytest.raises(ValueError, match="'auto' is no codec: with it, encode chooses among hybrid, kmeans"):
            call()
    for settings, words in (
        ({"colors": 16}, "codec 'auto' has no parameter 'colors'; it takes quality, bpp or target"),
        ({"effort": "high"}, "codec 'auto' has no parameter 'effort'"),
        ({"quality": 0}, "quality must be 1..100, got 0"),
        ({"quality": "best"}, "quality must be a number, got 'best'"),
        ({"bpp": -1}, "bpp must be a positive number, got -1"),
        ({"bpp": 1, "quality": 5}, "exclude each other"),
        ({"bpp": 1, "target": {"psnr": 40}}, "bpp and target exclude each other"),
        ({"target": 70}, "target must name one metric and its value"),
    ):
        for call in (lambda s=settings: gc.encode(SCAN, "auto", **s), lambda s=settings: check_settings("auto", **s)):
            with pytest.raises(ValueError, match=words):
                call()
    for wrong in ("Auto", "best", None):
        with pytest.raises(ValueError, match="unknown codec"):
            gc.encode(SCAN, wrong)
    with pytest.raises(ValueError, match="dtype uint8"):
        gc.encode(SCAN / 255, "auto")
