"""The index coder and the palette layer: exact where they say so, safe under damage, absent on photographs."""
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

import gan_compress as gc
from gan_compress.bitstream import BitstreamError, Chunk, read_file, write_file, write_varint
from gan_compress.entropy import RangeDecoder, RangeEncoder
from gan_compress.hybrid.codec import Hybrid
from gan_compress.hybrid.palette import GROUP, MAX_COLOURS, layer_part, merge_colours, split_layers
from gan_compress.images import load, sample
from gan_compress.indices import IndexDecoder, IndexEncoder
from gan_compress.metrics import psnr


def drawn(height, width, channels=3, seed=0):
    "Lines of letters from an alphabet of soft random shapes, on white, with a smooth dark bar: no font is needed."
    rng = np.random.default_rng(seed)
    alphabet = np.kron(rng.random((24, 5, 4)) < .5, np.ones((2, 2)))             # letters of 10x8
    soft = np.clip(alphabet - .4 * rng.random((24, 1, 1)) * (np.roll(alphabet, 1, 2) != alphabet), 0, 1)
    page = np.zeros((height + 20, width + 20))
    for y in range(4, height, 14):
        for x in range(4, width, 9):
            if rng.random() < .85: page[y:y + 10, x:x + 8] = soft[rng.integers(24)]
    page = np.rint(255 * (1 - page[:height, :width]))
    page[-height // 5:] = np.linspace(40, 90, width)
    ink = np.array([1, .9, .8])[:channels]
    return np.rint(page[..., None] * ink).astype(np.uint8) if channels == 3 else page.astype(np.uint8)


SCREEN = drawn(200, 280)


def round_trip(indices, n, coded=None):
    "What comes back, in one piece and in three."
    stream, encoder = RangeEncoder(), IndexEncoder(indices, n, coded)
    encoder.write(stream)
    whole = IndexDecoder(indices.shape, n, coded)
    whole.read(RangeDecoder(stream.finish()))
    encoder, pieces = IndexEncoder(indices, n, coded), IndexDecoder(indices.shape, n, coded)
    ends = [0, pieces.steps.count // 3, pieces.steps.count // 2, pieces.steps.count]
    for first, end in zip(ends, ends[1:]):
        stream = RangeEncoder()
        encoder.write(stream, first, end)
        pieces.read(RangeDecoder(stream.finish()), first, end)
    assert (whole.picture() == pieces.picture()).all()
    return whole.picture()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (128, 256), (129, 257), (200, 600)])
@pytest.mark.parametrize("n", [2, 7, 255])
def test_indices_come_back(shape, n):
    rng = np.random.default_rng(n)
    repeated = np.tile(rng.integers(0, n, (9, 13)), (-(-shape[0] // 9), -(-shape[1] // 13)))[:shape[0], :shape[1]]
    for indices in (repeated, rng.integers(0, n, shape) if np.prod(shape) < 2**16 else repeated):
        assert (round_trip(indices, n) == indices).all()
        coded = rng.random(shape) < .3
        assert (round_trip(indices, n, coded) == np.where(coded, indices, -1)).all()


def test_what_repeats_costs_little():
    rng = np.random.default_rng(0)
    letter = rng.integers(0, 2, (12, 9))
    stream, page = RangeEncoder(), np.tile(letter, (10, 28))
    IndexEncoder(page, 2).write(stream)
    assert len(stream.finish()) < letter.size / 8 * 10                            # 280 letters


@pytest.mark.parametrize("shape", [(200, 280, 3), (200, 280), (131, 77, 3), (GROUP + 90, 150, 3), (9, 2000)])
@pytest.mark.parametrize("tune", ["eye", "error"])
def test_a_screen_is_better_and_smaller_with_the_layer(shape, tune):
    x = drawn(*shape[:2], channels=3 if len(shape) == 3 else 1)
    plain, layered = (gc.encode(x, quality=40, tune=tune, palette=p, advise=False) for p in (False, True))
    decoded = gc.decode(layered)
    assert decoded.shape == x.shape
    if gc.inspect(layered)["bytes of the palette layer"]:
        assert len(layered) < len(plain) and psnr(x, decoded) > psnr(x, gc.decode(plain)) + 3
    else:
        assert shape[0] == 9 and layered == plain                                 # a strip of one row of blocks


def behind(height=200, width=280):
    "A smooth gradient with some noise, and text over it; where there is ink."
    noise = np.random.default_rng(1).integers(0, 3, (height, width, 3))
    x = np.uint8(np.linspace(40, 200, width)[:, None] * [1, .7, .4] + noise)
    page = drawn(height, width, 1)
    return np.where(page[..., None] < 250, page[..., None], x), page < 250


def test_text_on_a_gradient_is_in_the_layer_without_the_gradient():
    x, ink = behind()
    plain, layered = (gc.encode(x, quality=40, palette=p) for p in (False, True))
    one, two = np.float32(x), np.float32(gc.decode(layered))
    assert len(layered) < .8 * len(plain) and psnr(x, gc.decode(layered)) > psnr(x, gc.decode(plain)) + 3
    assert 0 < np.abs(one - two)[~ink].mean() < 3                                 # the transform's


@pytest.mark.parametrize("x", [np.zeros((8, 8), np.uint8), np.full((1, 1, 3), 7, np.uint8), drawn(17, 9),
                               np.kron(np.indices((40, 40)).sum(0) % 2, np.ones((3, 3))).astype(np.uint8) * 255])
def test_odd_pictures_come_back(x):
    for quality in (1, 50, 100): assert gc.decode(gc.encode(x, quality=quality, advise=False)).shape == x.shape


def layer_bytes(x, **settings): return gc.inspect(gc.encode(x, advise=False, **settings))["bytes of the palette layer"]


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_text_of_any_colour_has_a_layer(channel):
    x = np.zeros((160, 240, 3), np.uint8)
    x[..., channel] = 255 - drawn(160, 240, 1)
    assert layer_bytes(x) > 0


@pytest.mark.parametrize("name", ["rocket", "camera"])
def test_thin_text_on_a_texture_has_no_layer(name):
    x = sample(name)[50:306, 200:456].copy()
    for k in range(11): cv2.putText(x, f"Quick brown fox {k} 0123456789", (4, 18 + 22 * k), 0, .5, 0, 1, cv2.LINE_AA)
    assert layer_bytes(x) == 0


@pytest.mark.parametrize("shape", [(7, 9), (32, 32), (64, 64, 3)])
@pytest.mark.parametrize("n", [2, 5, 8, 256])
def test_noise_comes_back(shape, n):
    x = (np.random.default_rng(n).integers(0, n, shape) * (255 // (n - 1))).astype(np.uint8)
    assert gc.decode(gc.encode(x, advise=False)).shape == shape


def test_steps_larger_than_a_chunk():
    x = (np.random.default_rng(0).integers(0, 16, (512, 750)).repeat(2, 1) * 16).astype(np.uint8)
    steps = [layer_part(c)[1:3] for c in read_file(gc.encode(x, advise=False))[1] if c.tag == ord("T")]
    assert len(steps) > 10 and all(first < end for first, end in steps)


def test_empty_parts_of_a_layer_do_no_harm():
    header, (first, *rest) = read_file(gc.encode(SCREEN, quality=40, advise=False))
    count, last = first.payload[0], max(k for k, c in enumerate(rest) if c.tag == ord("T"))
    end = layer_part(rest[last])[2]
    empty = Chunk(ord("T"), b"\0" + 2 * write_varint(end) + RangeEncoder().finish())
    longer = [Chunk(ord("h"), bytes([count + 1]) + first.payload[1:]), *rest[:last + 1], empty, *rest[last + 1:]]
    assert (gc.decode(write_file(header, longer)) == gc.decode(write_file(header, [first, *rest]))).all()


def test_a_bit_may_cost_nothing():
    x = np.random.default_rng(1).integers(0, 256, (26, 26, 3)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
    assert gc.decode(gc.encode(x, lagrange=0., advise=False)).shape == x.shape


def test_transparent_screens():
    x = np.dstack([SCREEN, np.full(SCREEN.shape[:2], 255, np.uint8)])
    x[:40, :40, 3] = 0
    decoded = gc.decode(gc.encode(x, quality=40))
    assert (decoded[..., 3] == x[..., 3]).all() and psnr(SCREEN[60:], decoded[60:, :, :3]) > 25


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "china", "flower", "camera", "rocket"])
def test_photographs_have_no_layer(name):
    x = sample(name)[..., :3] if sample(name).ndim == 3 else sample(name)
    codec = Hybrid(quality=50)
    same, chunks = split_layers(x, codec.step_q / 64, codec.coding_tables, .067)
    assert not chunks and (same == x).all()


def test_kodak_has_no_layer():
    root = os.environ.get("GAN_COMPRESS_DATA")
    if not root or not Path(root, "kodak").is_dir():
        warnings.warn("GAN_COMPRESS_DATA has no kodak: nobody looked for layers on it", stacklevel=1)
        pytest.skip("GAN_COMPRESS_DATA is not set or has no folder kodak")
    for path in sorted(Path(root, "kodak").glob("*.png")):
        for quality in (10, 50, 90):
            codec = Hybrid(quality=quality)
            assert not split_layers(load(path), codec.step_q / 64, codec.coding_tables, .067)[1], path.name


def test_every_chunk_is_needed_and_may_be_lost():
    header, chunks = read_file(gc.encode(SCREEN, quality=40))
    codec, tags = Hybrid.unpack(header.params), [chr(c.tag) for c in chunks]
    assert tags[0] == "h" and "T" in tags
    for k in range(len(chunks)):
        rest = chunks[:k] + chunks[k + 1:]
        with pytest.raises(BitstreamError): codec.decode_chunks(rest, SCREEN.shape)
        assert codec.decode_chunks(rest, SCREEN.shape, strict=False).shape == SCREEN.shape
    only = [c for c in chunks if chr(c.tag) == "T"]
    assert psnr(SCREEN, codec.decode_chunks(only, SCREEN.shape, strict=False)) > 10


def test_damage_is_seen_and_survived():
    rng, data = np.random.default_rng(3), gc.encode(SCREEN, quality=40)
    for _ in range(40):
        bad = bytearray(data)
        bad[rng.integers(12, len(bad))] ^= 1 << rng.integers(8)
        with pytest.raises(BitstreamError): gc.decode(bytes(bad))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert gc.decode(bytes(bad), strict=False).shape == SCREEN.shape


def test_damage_behind_a_good_checksum():
    header, chunks = read_file(gc.encode(SCREEN, quality=40))
    rng, place = np.random.default_rng(4), next(k for k, c in enumerate(chunks) if c.tag == ord("T"))
    for _ in range(8):
        payload = bytearray(chunks[place].payload)
        payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
        data = write_file(header, [*chunks[:place], Chunk(ord("T"), bytes(payload)), *chunks[place + 1:]])
        for strict in (True, False):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert gc.decode(data, strict=strict).shape == SCREEN.shape
                except BitstreamError:
                    assert strict


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0\5", write_varint(99) + b"\0\5" + bytes(8),
                                     b"\0\5\5" + bytes(8), b"\0\0" + write_varint(2**40) + bytes(8)])
def test_hostile_layers_are_errors(payload):
    header, chunks = read_file(gc.encode(SCREEN, quality=40))
    count = sum(c.tag == ord("T") for c in chunks)
    hostile = [chunks[0], *count * [Chunk(ord("T"), payload)], *(c for c in chunks[1:] if c.tag != ord("T"))]
    with pytest.raises(BitstreamError): gc.decode(write_file(header, hostile))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = gc.decode(write_file(header, hostile), strict=False)
    assert psnr(SCREEN[-32:], saved[-32:]) > 30                                   # the transform's picture is there


def test_colours_are_never_too_many():
    rng = np.random.default_rng(0)
    colours = np.unique(rng.integers(0, 256, (4000, 3)), axis=0).astype(np.uint8)
    stay, label, error = merge_colours(colours, np.ones(len(colours)), np.ones(len(colours)), 1e-3)
    assert len(stay) <= MAX_COLOURS and set(label) == set(range(len(stay))) and (error[stay] == 0).all()
