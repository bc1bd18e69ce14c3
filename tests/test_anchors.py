"""The codecs that others are measured by: options of Pillow's, JPEG XL, HEVC and VVC, versions of their libraries."""
import importlib.util
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gan_compress as gc
from gan_compress import ffmpeg
from gan_compress.bitstream import Chunk, read_file, write_file
from gan_compress.codec import make_codec
from gan_compress.codecs import jpegxl, pillow, video
from gan_compress.images import load, sample
from gan_compress.metrics import psnr

PHOTO = sample("coffee")[100:197, 150:281].copy()  # odd sizes
video_only = pytest.mark.skipif(not ffmpeg.available(), reason="imageio_ffmpeg is not installed")
ANCHORS = [n for n in ("jpegxl", "hevc", "vvc") if n in gc.list_codecs()]


def recoded(image, codec, **params):
    codec = make_codec(codec, **params)
    payload = codec.encode_payload(image)
    return payload, codec.decode_payload(payload, image.shape)


# options of the codecs that everyone has


def test_defaults_write_the_bytes_they_always_wrote():
    for cls, plain in (
        (pillow.JPEG, {"quality": 40, "optimize": True, "progressive": True}),
        (pillow.WebP, {"quality": 40.0, "method": 6}),
        (pillow.AVIF, {"quality": 40, "speed": 6, "max_threads": 1}),
    ):
        for image in (PHOTO, PHOTO[..., 0].copy()):
            file = io.BytesIO()
            Image.fromarray(image).save(file, cls.format, **plain)
            assert cls(quality=40).encode_payload(image) == file.getvalue(), cls.name


def test_webp_without_loss():
    clear = np.dstack([PHOTO, np.arange(PHOTO[..., 0].size).reshape(PHOTO.shape[:2]).astype(np.uint8)])
    for image in (PHOTO, PHOTO[..., 0].copy(), clear):
        data = gc.encode(image, "webp", lossless=True)
        seen = gc.decode(data)
        assert (seen == image).all() if image is not clear else (seen[..., 3] == image[..., 3]).all()
        assert "quality" not in gc.inspect(data)
    wrongs = ({"lossless": False}, "must be True"), ({"lossless": True, "quality": 50}, "exclude each other")
    for wrong, words in wrongs:
        with pytest.raises(ValueError, match=words): gc.encode(PHOTO, "webp", **wrong)
    with pytest.raises(ValueError, match="bpp and lossless exclude each other"):
        gc.encode(PHOTO, "webp", lossless=True, bpp=1)


@pytest.mark.parametrize("codec", ["jpeg", "avif"])
def test_finer_chroma_costs_bytes_and_gains_colour(codec):
    sizes, errors = [], []
    for subsampling in pillow.SUBSAMPLINGS:
        payload, decoded = recoded(PHOTO, codec, quality=80, subsampling=subsampling)
        sizes.append(len(payload))
        errors.append(psnr(PHOTO[..., 2], decoded[..., 2]))
    assert sizes == sorted(sizes) and errors == sorted(errors)
    grey = PHOTO[..., 0].copy()
    files = {recoded(grey, codec, subsampling=s)[0] for s in pillow.SUBSAMPLINGS}
    assert len(files) == 1  # a grey picture has no chroma


def test_each_tune_of_avif_writes_its_own_file():
    assert pillow.known_tunes()
    files = {tune: recoded(PHOTO, "avif", tune=tune)[0] for tune in ("default", *pillow.known_tunes())}
    assert len(set(files.values())) >= len(pillow.known_tunes())
    default = pillow.library_versions()["avif tune default"]
    assert default == "unknown" or files[default] == files["default"]
    for tune in files:
        assert gc.inspect(gc.encode(PHOTO, "avif", tune=tune))["parameters"] == {}  # the file does not tell


def test_a_tune_that_the_build_lacks_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="tune must be one of default, .*, got 'vmaf2'"):
        gc.encode(PHOTO, "avif", tune="vmaf2")
    monkeypatch.setattr(pillow, "known_tunes", lambda: ("psnr", "ssim"))
    with pytest.raises(ValueError, match="tune must be one of default, psnr, ssim, got 'iq'"):
        gc.encode(PHOTO, "avif", tune="iq")


def test_options_out_of_range_are_named():
    for codec, words, params in [
        ("webp", "method must be 0..6, got 7", {"method": 7}),
        ("avif", "speed must be 0..10, got -1", {"speed": -1}),
        ("jpeg", "subsampling must be one of 4:2:0, 4:2:2, 4:4:4, got '4:1:1'", {"subsampling": "4:1:1"}),
        ("avif", "subsampling must be a word, got 420", {"subsampling": 420}),
    ]:
        with pytest.raises(ValueError, match=re.escape(words)):
            gc.encode(PHOTO, codec, **params)


# JPEG XL, HEVC, VVC


@pytest.mark.parametrize("codec", ANCHORS)
def test_pictures_come_back(codec):
    for image in (PHOTO, PHOTO[..., 0].copy(), PHOTO[:1, :1].copy(), PHOTO[:7, :5].copy(), PHOTO[:8, :8, 1].copy()):
        payload, decoded = recoded(image, codec, quality=90)
        assert decoded.shape == image.shape and decoded.dtype == np.uint8 and psnr(image, decoded) > 30


@pytest.mark.parametrize("codec", ANCHORS)
def test_bytes_and_quality_grow_together_and_always_the_same_bytes(codec):
    results = [recoded(PHOTO, codec, quality=q) for q in (10, 30, 50, 70, 90)]
    sizes, errors = [len(p) for p, _ in results], [psnr(PHOTO, x_hat) for _, x_hat in results]
    assert sizes == sorted(set(sizes)) and errors == sorted(set(errors))
    assert recoded(PHOTO, codec, quality=50)[0] == results[2][0]


@video_only
@pytest.mark.parametrize("layout, least", [("444p", 60), ("420p", 38), ("gray", 50)])
def test_planes_lose_little(layout, least):
    image = PHOTO[..., 0].copy() if layout == "gray" else PHOTO
    planes = video.to_planes(image, layout)
    assert planes[0].shape == (104, 136) and psnr(image, video.from_planes(planes, image.shape)) > least


@video_only
@pytest.mark.parametrize("codec, params", [
    ("hevc", {"tune": "ssim"}), ("hevc", {"tune": "default"}), ("hevc", {"preset": "fast"}),
    ("vvc", {"qpa": True}), ("vvc", {"preset": "faster"}),
])
def test_settings_of_the_encoders_reach_them(codec, params):
    payload, decoded = recoded(PHOTO, codec, **params)
    assert payload != recoded(PHOTO, codec)[0] and psnr(PHOTO, decoded) > 25


@video_only
def test_bad_settings_of_the_encoders_are_named():
    for codec, words, params in [
        ("hevc", "preset must be one of ultrafast, .*, got 'slowest'", {"preset": "slowest"}),
        ("hevc", "tune must be one of psnr, ssim, default, got 'grain'", {"tune": "grain"}),
        ("vvc", "preset must be one of faster, .*, got 'placebo'", {"preset": "placebo"}),
        ("vvc", "qpa must be true or false, got 1", {"qpa": 1}),
    ]:
        with pytest.raises(ValueError, match=words):
            make_codec(codec, **params)
    with pytest.raises(ValueError, match="at most 16384 pixels a side"):
        gc.encode(np.zeros((1, 16385), np.uint8), "vvc")


@pytest.mark.parametrize("codec", ANCHORS)
def test_a_file_of_another_size_or_colour_is_refused(codec):
    header, chunks = read_file(gc.encode(PHOTO, codec))
    for shape in ((97, 200, 3), (200, 131, 3), (97, 131), (30, 30, 3), (136, 104, 3)):
        if codec == "vvc" and len(shape) == 2: continue  # grey pictures have colour planes there too
        forged = write_file(type(header)(header.codec_id, header.codec_version, shape, header.params), chunks)
        with pytest.raises(gc.BitstreamError):
            gc.decode(forged)


@pytest.mark.parametrize("codec", ANCHORS)
def test_damage_inside_never_crashes(codec):
    header, chunks = read_file(gc.encode(PHOTO, codec))
    payload, rng = chunks[0].payload, np.random.default_rng(0)
    for trial in range(8):
        bad = bytearray(payload)
        for place in rng.integers(0, len(bad), 1 + trial): bad[place] ^= 1 << rng.integers(8)
        if trial > 5: bad = bad[:len(bad) // trial]
        try:
            assert gc.decode(write_file(header, [Chunk(ord("P"), bytes(bad))])).shape == PHOTO.shape
        except gc.BitstreamError:
            pass
    with pytest.raises(gc.BitstreamError):
        gc.decode(write_file(header, [Chunk(ord("P"), b"")]))


@pytest.mark.parametrize("codec, package", [("jpegxl", "pillow_jxl"), ("hevc", "imageio_ffmpeg"),
                                            ("vvc", "imageio_ffmpeg")])
def test_without_its_package_a_codec_is_absent_and_says_what_it_needs(codec, package, monkeypatch):
    found = importlib.util.find_spec
    data = gc.encode(PHOTO[:20, :20].copy(), codec) if codec in gc.list_codecs() else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else found(name, *a))
    assert codec not in gc.list_codecs()
    with pytest.raises(ValueError, match=rf'needs the package {package}: pip install "gan_compress\[anchors\]"'):
        gc.encode(PHOTO, codec)
    if data:
        with pytest.raises(gc.BitstreamError, match="pip install"):
            gc.decode(data)


@pytest.mark.parametrize("codec", ANCHORS)
def test_old_files_stay_readable(codec):
    golden = Path(__file__).parent / "golden"
    decoded, expected = gc.decode((golden / f"{codec}.gcz").read_bytes()), load(golden / f"{codec}.png")
    assert decoded.shape == expected.shape and np.abs(decoded.astype(int) - expected).max() <= 1


# ffmpeg itself, and the versions


def test_ffmpeg_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(ffmpeg, "available", lambda: False)
    with pytest.raises(ValueError, match=r'pip install "gan_compress\[anchors\]"'):
        ffmpeg.run(["-version"])


@video_only
def test_ffmpeg_leaves_no_files_whatever_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg.tempfile, "tempdir", str(tmp_path))
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "2x2"]
    assert ffmpeg.run([*raw, "-i", "pipe:0", *raw[:4], "pipe:1"], b"abcd") == b"abcd"
    for arguments, limits, words in [
        (["-i", "absent.png", "-f", "null", "-"], {}, "ffmpeg failed: .*absent.png"),
        (["-f", "lavfi", "-i", "testsrc", "-f", "rawvideo", "pipe:1"], {"limit": 1000}, "more than 1000 bytes"),
        (["-re", "-f", "lavfi", "-i", "testsrc", "-f", "null", "-"], {"seconds": 0.3}, "longer than 0.3 seconds"),
    ]:
        with pytest.raises(ValueError, match=words):
            ffmpeg.run(arguments, **limits)
    assert not list(tmp_path.iterdir())


def test_versions():
    told = pillow.library_versions() | jpegxl.library_versions() | video.library_versions()
    known = {"pillow", "libjpeg-turbo", "openjpeg", "libwebp", "libavif", "aom", "dav1d", "avif tune default"}
    assert known <= set(told)
    assert all(isinstance(v, str) and v for v in told.values())
    assert ("ffmpeg" in told) == ffmpeg.available() and ("pillow-jxl-plugin" in told) == ("jpegxl" in gc.list_codecs())
