"""The hybrid codec: the same latents everywhere, tiles without seams, files that survive, bounded memory."""
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

import gan_compress as gc
from gan_compress.bitstream import BitstreamError, read_file, write_file
from gan_compress.hybrid import adct, lapped, tables
from gan_compress.hybrid.allocation import ALLOCATION, activity, bit_price, cells_of, step_cells
from gan_compress.hybrid.codec import Hybrid, encode_tile, render, tile_grid
from gan_compress.hybrid.tile import FARTHEST, OCTAVE, TileEncoder, local_factors
from gan_compress.images import resize, sample
from gan_compress.metrics import psnr

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "hybrid.json").read_text())
PHOTO = resize(sample("coffee"), (512, 768))


def quiet(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gc.decode(data, strict=False)


def digests(name):
    "Digests of the latents and of the pixels of a golden file."
    header, chunks = read_file((GOLDEN / name).read_bytes())
    codec = Hybrid.unpack(header.params)
    y = codec.latents(chunks, header.shape)
    x = codec.decode_chunks(chunks, header.shape)
    return [hashlib.sha256(a.astype(t).tobytes()).hexdigest() for a, t in ((y.coeffs, "<i4"), (x, "u1"))]


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_files_decode_to_the_same_latents_and_pixels(name):
    assert digests(name) == EXPECTED[name]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_golden_files_in_fresh_processes(threads):
    names = [f"OMP_NUM_THREADS={threads}", f"OPENBLAS_NUM_THREADS={threads}", f"MKL_NUM_THREADS={threads}"]
    root = Path(__file__).parent
    code = "import json, test_hybrid as t; print(json.dumps({n: t.digests(n) for n in t.EXPECTED}))"
    env = os.environ | dict(n.split("=") for n in names) | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == EXPECTED


def disturb(monkeypatch):
    "Put noise into every product of the decoder; the types of what it was put into."
    rng, calls = np.random.default_rng(0), set()

    def noisy(a, b):
        y = a @ b
        calls.add(y.dtype)
        return y * (1 + 4 * np.finfo(y.dtype).eps * rng.uniform(-1, 1, y.shape)).astype(y.dtype)

    monkeypatch.setattr(adct, "_product", noisy)
    return calls


@pytest.mark.parametrize("name", EXPECTED)
def test_noise_in_the_last_bits_of_every_product_changes_nothing(name, monkeypatch):
    calls = disturb(monkeypatch)
    assert digests(name) == EXPECTED[name]
    assert {np.dtype(np.float32), np.dtype(np.float64)} == calls


@pytest.mark.parametrize("number", sorted({r.tables for r in tables.RELEASES.values() if r.tables > 2}))
def test_networks_are_the_same_from_int16_as_they_are_stored(number):
    "Counting gets them as int16, the codec as float32."
    arrays = tables.load_tables(number)
    nets, *rest = (arrays[name] for name in tables.NET_FIELDS)
    for k in range(len(arrays["steps"])):
        both = [tables.unpack_nets(x, *rest, k) for x in (nets, nets.astype(np.int16))]
        for p in both[0]:
            for a, b in zip(both[0][p], both[1][p]):
                assert all(np.array_equal(x, y) and x.dtype == np.float32 for x, y in zip(a[:2], b[:2]))


@pytest.mark.parametrize("number", sorted({r.tables for r in tables.RELEASES.values()}))
def test_sums_of_contexts_are_exact_in_float32(number):
    "Whatever the features are: every sum of integers stays below 2**24."
    arrays = tables.load_tables(number)
    for step_q in arrays["steps"].tolist():
        for weights in tables.choose_tables(arrays, step_q).weights.values():
            for w, b in [(weights, 0)] if isinstance(weights, np.ndarray) else [layer[:2] for layer in weights]:
                assert (w == np.rint(w)).all() and (255 * np.abs(w).sum(1, keepdims=True) + np.abs(b)).max() < 2**24


@pytest.mark.parametrize("number", (1, 2))
def test_every_sum_that_chooses_a_context_is_exact_in_float32(number):
    most = 4 * 63  # a magnitude up to 31, a slope up to 127, or a sum of four of either, slopes taken as at most 63
    for step_q in tables.load_tables(number)["steps"]:
        fitted = tables.tables_for(int(step_q), number)
        for w in fitted.weights.values():
            assert (w == np.rint(w)).all() and w.min() >= 0 and w.sum(1).max() * most < 2**24
        for f in (fitted.frequencies, fitted.first, *(() if fitted.local is None else (fitted.local,))):
            assert (f.sum(-1) == 65536).all() and f.min() >= 1
        assert (fitted.scales[..., 0] == tables.UNIT).all() and fitted.scales.min() >= 1


def opened(data):
    "Codec, chunks and shape of a file."
    header, chunks = read_file(data)
    return Hybrid.unpack(header.params), chunks, header.shape


@pytest.mark.parametrize("shape", ((1, 1), (70, 90), (130, 200, 3), (520, 530, 3)))
def test_a_file_for_the_eye_decodes_to_what_the_encoder_had(shape, monkeypatch):
    whole = resize(PHOTO, (520, 780))
    image = (whole if len(shape) == 3 else whole[..., 1])[:shape[0], :shape[1]]
    codec, chunks, _ = opened(gc.encode(image, "hybrid", quality=30, networks="none"))
    y, x = codec.latents(chunks, shape), codec.decode_chunks(chunks, shape)
    seen = activity(image)
    price, cells = ALLOCATION.lagrange * bit_price(seen), step_cells(seen)
    for where in tile_grid(shape):
        tile = encode_tile(image, where, codec.step_q, codec.coding_tables, price[where], release=codec.release,
                           cells=cells[cells_of(where)])
        assert np.array_equal(y.coeffs[:, :, *where], tile.coeffs[-1])
        assert np.array_equal(y.factors[where], local_factors(cells[cells_of(where)], y.factors[where].shape))
    disturb(monkeypatch)
    assert np.array_equal(codec.latents(chunks, shape).coeffs, y.coeffs)
    assert np.array_equal(codec.decode_chunks(chunks, shape), x)


def test_a_tile_that_lost_its_map_has_neutral_steps():
    image = resize(PHOTO, (600, 1400))
    codec, chunks, shape = opened(gc.encode(image, "hybrid", step=4, networks="none"))
    whole, rest = codec.latents(chunks, shape), codec.latents(chunks[1:], shape, strict=False)
    lost = np.zeros(whole.factors.shape, bool)
    for where, known in zip(tile_grid(shape), rest.segments): lost[where] = known == 0
    assert lost.any() and not lost.all()
    assert (rest.factors[lost] == tables.UNIT).all() and np.array_equal(rest.factors[~lost], whole.factors[~lost])
    assert psnr(image, codec.decode_chunks(chunks[1:], shape, strict=False)) > 10


def test_a_damaged_map_is_a_picture_all_the_same():
    codec, chunks, shape = opened(gc.encode(PHOTO[:200, :260], "hybrid", quality=40, networks="none"))
    rng, most = np.random.default_rng(3), round(tables.UNIT * 2 ** (FARTHEST / OCTAVE))
    found = set()
    for k in range(24):
        hit = np.frombuffer(chunks[0].payload, np.uint8).copy()
        at = rng.integers(2, len(hit) if k % 2 else 30, rng.integers(1, 9))  # the map stands in front
        hit[at] ^= rng.integers(1, 256, at.size, dtype=np.uint8)
        damaged = [chunks[0]._replace(payload=hit.tobytes()), *chunks[1:]]
        y = codec.latents(damaged, shape, strict=False)
        assert tables.UNIT**2 // most <= y.factors.min() and y.factors.max() <= most
        assert codec.decode_chunks(damaged, shape, strict=False).shape == shape
        found.add(y.factors.tobytes())
    assert len(found) > 6  # the maps were hit indeed


def test_the_map_costs_little():
    data = gc.encode(PHOTO, "hybrid", bpp=0.15, networks="none")
    codec, _, shape = opened(data)
    cells, blank = step_cells(activity(PHOTO)), np.zeros((3, 64, 64, 96), np.float32)
    size = 0.0
    for where in tile_grid(shape):
        here = cells[cells_of(where)]
        size += TileEncoder(blank[:, :, *where], codec.step_q, codec.coding_tables, cells=here).map_size()
    assert size <= 0.015 * len(data)


def test_the_transform_is_exact_in_float64():
    largest = 2.0**30
    for m in (*lapped.LAPPED.inverses, lapped._INVERSE4):
        assert np.abs(m).sum(1).max() * largest < 2**53


def test_tiles_leave_no_seam():
    image = resize(sample("china"), (600, 1100))
    error = np.abs(gc.decode(gc.encode(image, "hybrid", quality=10)).astype(float) - image).mean(2)
    columns, rows = error.mean(0), error.mean(1)
    assert columns[504:520].mean() < 1.35 * columns[440:580].mean()
    assert rows[504:520].mean() < 1.35 * rows[440:580].mean()
    jump = np.abs(np.diff(gc.decode(gc.encode(image, "hybrid", quality=5)).astype(float), axis=1)).mean((0, 2))
    assert jump[511] < 1.5 * np.median(jump[480:544])


def test_framing_is_at_most_two_percent_at_a_tenth_of_a_bit():
    data = gc.encode(PHOTO, "hybrid", bpp=0.1)
    header, chunks = read_file(data)
    coded = sum(len(c.payload) - 2 for c in chunks)  # the two bytes say which segments are in the chunk
    assert len(data) - coded <= 0.02 * len(data)
    assert all(len(c.payload) >= 250 for c in chunks)


def test_any_prefix_is_a_picture_and_more_of_it_a_better_one():
    data = gc.encode(PHOTO, "hybrid", quality=30)
    quality = []
    for k in range(1, 10):
        part = data[: len(data) * k // 10]
        with pytest.raises(BitstreamError):
            gc.decode(part)
        quality.append(psnr(PHOTO, quiet(part)))
        assert gc.inspect(part)["damage"]
    assert all(b > a - 0.01 for a, b in zip(quality, quality[1:]))
    assert quiet(data[:30]).shape == PHOTO.shape


def test_any_one_chunk_may_be_lost():
    image = PHOTO[:400, :700]
    header, chunks = read_file(gc.encode(image, "hybrid", quality=60))
    codec = Hybrid.unpack(header.params)
    whole = psnr(image, codec.decode_chunks(chunks, image.shape))
    for k in range(len(chunks)):
        rest = chunks[:k] + chunks[k + 1:]
        with pytest.raises(BitstreamError):
            codec.decode_chunks(rest, image.shape)
        y = codec.decode_chunks(rest, image.shape, strict=False)
        assert 10 < psnr(image, y) < whole
    assert (codec.decode_chunks([], image.shape, strict=False) == 128).all()


def test_damage_is_seen_and_survived():
    data = gc.encode(PHOTO[:256, :384], "hybrid", quality=50)
    rng = np.random.default_rng(0)
    for errors in (1, 1, 1, 4, 4, 16, 64):
        hit = np.frombuffer(data, np.uint8).copy()
        at = rng.integers(25, len(hit), errors)  # the first header lives
        hit[at] ^= rng.integers(1, 256, errors, dtype=np.uint8)
        with pytest.raises(BitstreamError):
            gc.decode(hit.tobytes())
        assert quiet(hit.tobytes()).shape == (256, 384, 3)
    assert np.array_equal(quiet(b"\0" * 21 + data[21:]), gc.decode(data))  # the second header does
    with pytest.raises(BitstreamError):
        gc.decode(data[25:-25], strict=False)


def test_hostile_chunks_are_errors():
    header, chunks = read_file(gc.encode(PHOTO[:64, :64], "hybrid", quality=50))
    codec = Hybrid.unpack(header.params)
    rng = np.random.default_rng(1)
    first = chunks[0]
    for payload in (b"", first.payload[:2], first.payload[:6], b"\xff" * 9, b"\0\0" + first.payload[2:],
                    b"\7" + first.payload[1:], *(first.payload[:2] + rng.bytes(4 * n) for n in (1, 5, 40, 200))):
        for strict in (True, False):
            try:
                codec.decode_chunks([first._replace(payload=payload)], (64, 64, 3), strict)
            except BitstreamError:
                continue
            assert not strict
    for params in (b"", b"\0\0\1\0", b"\0\10\x63\0", b"\0\10\1\7"):
        bad = write_file(header.__class__(20, 1, header.shape, params, repeat=True, short_crc=True), chunks)
        with pytest.raises(BitstreamError, match="hybrid"):
            gc.decode(bad)


def test_parameters():
    for wrong in ({"step": 0.4}, {"step": 2000}, {"lagrange": -1}, {"networks": "big"}, {"networks": 99},
                  {"quality": 50, "step": 10}, {"tables": 9}, {"tune": "structure"}):
        with pytest.raises(ValueError):
            gc.encode(PHOTO[:16, :16], "hybrid", **wrong)
    image = PHOTO[:128, :128]
    nearest, normal = (gc.encode(image, "hybrid", step=30, lagrange=v) for v in (0, None))
    assert len(normal) < len(nearest) and psnr(image, gc.decode(normal)) < psnr(image, gc.decode(nearest))
    sizes = [len(gc.encode(image, "hybrid", quality=q)) for q in (50, 50 + 1, 50 + 2)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_the_latents_are_what_the_decoder_draws():
    image = PHOTO[:100, :130]
    header, chunks = read_file(gc.encode(image, "hybrid", quality=40))
    codec = Hybrid.unpack(header.params)
    y = codec.latents(chunks, image.shape)
    assert y.coeffs.shape == (3, 64, 13, 17) and y.coeffs.dtype == np.int32 and (y.segments == 7).all()
    assert y.factors.shape == (13, 17) and len(np.unique(y.factors)) > 1
    filters = codec.coding_tables.filters
    drawn = render(y.coeffs, image.shape, y.step_q, filters, codec.release, factors=y.factors)
    assert np.array_equal(drawn, codec.decode_chunks(chunks, image.shape))


def test_memory_grows_slowly():
    image = np.tile(PHOTO, (6, 1, 1))  # 2.4 million pixels in six strips
    peaks = []
    for work in (lambda: gc.encode(image, "hybrid", quality=30), lambda: gc.decode(data)):
        tracemalloc.start()
        data = work()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) / image[..., 0].size < 64, peaks  # bytes per pixel: 24 million pixels in 1.5 GiB


def test_no_network_library_is_loaded():
    libraries = ("tensorflow", "keras", "jax", "torch", "onnxruntime", "pandas", "matplotlib")
    code = f"import sys, gan_compress.hybrid.codec; print([m for m in {libraries} if m in sys.modules])"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
