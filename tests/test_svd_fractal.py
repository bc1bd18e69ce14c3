"""SVD and fractal codecs: native knobs, magnification, sizes around tiles and blocks, quality of JPEG, bounded time."""
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.fft import dctn

import gan_compress as gc
from gan_compress.bitstream import Chunk, read_file, write_file
from gan_compress.codecs import fractal, svd
from gan_compress.images import load, recode, resize, sample
from gan_compress.metrics import psnr

GOLDEN = Path(__file__).parent / "golden"
BOTH = ("svd", "fractal")
PHOTO = resize(sample("coffee"), (160, 240))


@pytest.mark.parametrize("codec", BOTH)
@pytest.mark.parametrize("shape", [(1, 1), (1, 200, 3), (15, 17), (16, 33, 3), (31, 32, 4), (97, 64, 3), (160, 239)])
def test_round_trips(codec, shape):
    image = np.resize(PHOTO, (*shape[:2], 3))
    image = image[..., 0].copy() if len(shape) == 2 else np.dstack([image, image[..., :1]]) if shape[2] == 4 else image
    for quality in (5, 60):
        decoded = gc.decode(gc.encode(image, codec, quality=quality))
        assert decoded.shape == image.shape and decoded.dtype == np.uint8
        if len(shape) == 3 and shape[2] == 4:
            assert np.array_equal(decoded[..., 3], image[..., 3])


@pytest.mark.parametrize("codec", BOTH)
def test_several_tiles(codec, monkeypatch):
    "With small tiles the same picture has many; what is decoded is about as good."
    whole = psnr(PHOTO, gc.decode(gc.encode(PHOTO, codec, quality=40)))
    monkeypatch.setattr(svd, "TILE", 64)
    monkeypatch.setattr(fractal, "TILE", 4)
    data = gc.encode(PHOTO, codec, quality=40)
    assert abs(psnr(PHOTO, gc.decode(data)) - whole) < 0.8
    if codec == "fractal":
        assert gc.decode(data, scale=1.5).shape == (240, 360, 3)


@pytest.mark.parametrize("codec", BOTH)
def test_quality_means_what_it_means_in_jpeg(codec):
    image = sample("chelsea")
    for quality in (10, 25, 50):
        jpeg = psnr(image, recode(image, quality=quality)[1])
        assert abs(psnr(image, gc.decode(gc.encode(image, codec, quality=quality))) - jpeg) < 2


def test_rank():
    sizes, quality = [], []
    for rank in (1, 2, 4, 8, 16, 32, 64):
        data = gc.encode(PHOTO, "svd", rank=rank)
        facts = gc.inspect(data)
        assert facts["mean rank of luma"] <= rank and facts["mean rank of chroma"] <= rank
        assert facts["parameters"]["rank"] == rank
        sizes.append(len(data))
        quality.append(psnr(PHOTO, gc.decode(data)))
    assert sizes == sorted(sizes) and quality == sorted(quality)
    for bad in (0, 65, 2.5, True):
        with pytest.raises(ValueError, match="rank must be"):
            gc.encode(PHOTO, "svd", rank=bad)


def test_svd_beats_the_rank_sum_of_the_picture_itself():
    "The naive codec, even with one byte a number and nothing else counted."
    grey = PHOTO[..., 0].copy()
    u, s, vt = np.linalg.svd(grey.astype(float))
    for rank in (4, 12):
        naive = np.clip(np.rint((u[:, :rank] * s[:rank]) @ vt[:rank]), 0, 255).astype(np.uint8)
        data = gc.encode(grey, "svd", bpp=8 * rank * sum(grey.shape) / grey.size)
        assert psnr(grey, gc.decode(data)) > psnr(grey, naive) + 2


def test_tolerance():
    sizes = [len(gc.encode(PHOTO, "fractal", tolerance=t)) for t in (40, 20, 10, 5)]
    assert sizes == sorted(sizes)
    assert gc.inspect(gc.encode(PHOTO, "fractal", tolerance=10))["parameters"]["tolerance"] == 10
    for bad in (0, 251, "8", True):
        with pytest.raises(ValueError, match="tolerance must be"):
            gc.encode(PHOTO, "fractal", tolerance=bad)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_magnification(channels):
    image = {1: PHOTO[..., 0].copy(), 3: PHOTO, 4: np.dstack([PHOTO, PHOTO[..., :1]])}[channels][:75, :101]
    data = gc.encode(image, "fractal", quality=50)
    plain = gc.decode(data)
    for scale in (0.5, 1, 2, 2.5, 4):
        large = gc.decode(data, scale=scale)
        assert large.shape == (*(int(np.ceil(n * scale)) for n in image.shape[:2]), *image.shape[2:])
        assert psnr(resize(large, image.shape[:2])[..., :3], plain[..., :3]) > 26
    for bad in (0, -1, 0.3, 17, float("nan"), "2"):
        with pytest.raises(ValueError):
            gc.decode(data, scale=bad)
    with pytest.raises(ValueError, match="no decode option"):
        gc.decode(gc.encode(image, "svd"), scale=2)


def test_the_fixed_point_does_not_depend_on_the_start():
    plane = PHOTO[..., 1].astype(np.float32)[:160, :240]
    levels = fractal.partition(plane, 8)
    place, factor = fractal.lookup(levels, plane.shape)
    assert np.abs(factor).max() < 1
    painted, offset = fractal.offsets(fractal.leaf_means(plane, levels), levels, place, factor)
    rng = np.random.default_rng(0)
    starts = painted, rng.uniform(0, 255, plane.shape), np.zeros_like(plane)
    ends = [fractal.iterate(start.astype(np.float32), place, factor, offset, 200) for start in starts]
    for end in ends[1:]:
        assert np.abs(end - ends[0]).max() <= 2 * 0.25 / (1 - 15 / 16)


def test_canonical_poses_and_their_composition():
    rng = np.random.default_rng(5)
    for n in (4, 8, 16):
        block = rng.normal(size=(n, n))
        poses = np.stack([fractal.isometry(block, t) for t in range(8)])
        turned, back = fractal.canonical(dctn(poses, axes=(1, 2), norm="ortho"))
        assert np.allclose(turned, turned[0]) and sorted(back) == list(range(8))
        for a in range(8):
            for b in range(8):
                assert np.allclose(fractal.isometry(poses[a], int(fractal._COMPOSE[back[b], back[a]])), poses[b])


@pytest.mark.parametrize("codec", BOTH)
def test_lies_are_refused_in_bounded_time(codec):
    "A file whose checksums fit, for a larger picture than its payload was made for, and with payloads of noise."
    header, chunks = read_file(gc.encode(PHOTO, codec, quality=30))
    rng = np.random.default_rng(2)
    start = time.process_time()
    for trial in range(20):
        payload = bytearray(chunks[0].payload)
        if trial % 2:
            payload[2:] = rng.bytes(4 * int(rng.integers(1, 2000)))
        else:
            for k in rng.integers(2, len(payload), 4): payload[k] = rng.integers(256)
        shape = (640, 720, 3) if trial % 4 == 3 else header.shape
        lie = type(header)(header.codec_id, header.codec_version, shape, header.params)
        bad = write_file(lie, [Chunk(ord("P"), bytes(payload))])
        try:
            assert gc.decode(bad).shape == shape
        except gc.BitstreamError:
            pass
    assert time.process_time() - start < 60
    for payload in (b"", b"\1", b"\0\0"):
        with pytest.raises(gc.BitstreamError):
            gc.decode(write_file(header, [Chunk(ord("P"), payload)]))


@pytest.mark.parametrize("codec", BOTH)
def test_a_strip_that_pads_to_a_huge_picture_is_refused(codec):
    header, chunks = read_file(gc.encode(PHOTO, codec))
    with pytest.raises(gc.BitstreamError, match="too large"):
        gc.decode(write_file(type(header)(header.codec_id, 1, (1, 150_000_000, 3), header.params), chunks))


def test_parameters_that_make_no_sense():
    header, chunks = read_file(gc.encode(PHOTO, "fractal"))
    of_svd = b"\0", struct.pack("<HB", 0, 0), struct.pack("<HB", 256, 99)
    of_fractal = struct.pack("<BH", 2, 999), b""
    for codec_id, params in [*((10, p) for p in of_svd), *((11, p) for p in of_fractal)]:
        with pytest.raises(gc.BitstreamError, match="parameters"):
            gc.decode(write_file(type(header)(codec_id, 1, header.shape, params), chunks))


@pytest.mark.parametrize("name", ["svd-colour", "svd-grey-rank", "fractal-colour", "fractal-grey"])
def test_golden_files_decode_to_the_same_picture(name):
    "Files of this version stay readable: integers to the bit, pixels within 1."
    picture = load(GOLDEN / f"{name}.png").astype(int)
    assert np.abs(gc.decode((GOLDEN / f"{name}.gcz").read_bytes()).astype(int) - picture).max() <= 1
