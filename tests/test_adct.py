"""The approximate DCTs: frozen matrices, exactness at the limits, input checks."""
import hashlib

import numpy as np
import pytest

from gan_compress.codecs.dct import dct_matrix
from gan_compress.hybrid.adct import TRANSFORMS, adct, adct_matrix, bounds, iadct, orthonormal, rotation, scale

KINDS = list(TRANSFORMS)


def test_matrices_are_frozen():
    "Files depend on these matrices: a change of one entry would make old files unreadable."
    all_ = b"".join(kind.encode() + TRANSFORMS[kind].tobytes() for kind in sorted(KINDS))
    assert hashlib.sha256(all_).hexdigest()[:16] == "e92c8978b6c2646f"
    with pytest.raises(ValueError):
        adct_matrix("angle")[0, 0] = 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64])
def test_round_trip(kind, dtype):
    info = np.iinfo(dtype)
    low, high = max(info.min, -(2**24 // 144)), min(info.max, 2**24 // 144)
    x = np.random.default_rng(1).integers(low, high, (3, 5, 8, 8), dtype=dtype, endpoint=True)
    x[0, 0], x[0, 1] = low, high
    t = adct_matrix(kind).astype(object)
    c = adct(x, kind)
    assert c.dtype == np.int32 and c.shape == x.shape
    assert (c == t @ x.astype(object) @ t.T).all()
    assert (iadct(c, kind) == x).all()


@pytest.mark.parametrize("kind", KINDS)
def test_inverse_is_nearest_integer(kind):
    "Against exact rational arithmetic, at the largest coefficients allowed."
    rng = np.random.default_rng(2)
    c = rng.integers(-2**24, 2**24, (20, 8, 8), endpoint=True)
    c[0], c[1] = 2**24, -2**24
    t = adct_matrix(kind).astype(object)
    n = (t * t).sum(1)
    common = int(np.lcm.reduce(n.astype(np.int64)))
    m = t * (common // n)[:, None]
    exact = (2 * (m.T @ c.astype(object) @ m) + common**2) // (2 * common**2)
    assert (iadct(c, kind) == exact).all()


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold(kind):
    rng = np.random.default_rng(3)
    x = rng.choice([-128, 128], (2000, 8, 8))
    forward, inverse = bounds(128, kind)
    assert np.abs(adct(x, kind)).max() <= forward < 2**15
    assert inverse < 2**31


@pytest.mark.parametrize("kind", KINDS)
def test_rotation_gives_the_dct(kind):
    x = np.random.default_rng(4).integers(-128, 128, (50, 8, 8))
    c = scale(kind)[:, None] * adct(x, kind) * scale(kind)
    d, r = dct_matrix(), rotation(kind)
    np.testing.assert_allclose(r @ c @ r.T, d @ x @ d.T, atol=1e-9)
    np.testing.assert_allclose(orthonormal(kind).T @ c @ orthonormal(kind), x, atol=1e-9)


def test_dct_matrix_is_scipys():
    from scipy.fft import dct
    for n in (1, 4, 8, 16):
        np.testing.assert_allclose(dct_matrix(n), dct(np.eye(n), axis=0, norm="ortho"), atol=1e-12)


def test_views_and_empty_arrays():
    x = np.random.default_rng(5).integers(-128, 128, (8, 6, 8, 8)).transpose(1, 0, 3, 2)[::-1]
    assert (adct(x) == adct(x.copy())).all()
    assert adct(np.zeros((0, 4, 8, 8), np.int16)).shape == iadct(np.zeros((0, 4, 8, 8), np.int32)).shape == (0, 4, 8, 8)


@pytest.mark.parametrize("bad, match", [
    (np.zeros((8, 8)), "integers of shape"),
    (np.zeros((8, 8), bool), "integers of shape"),
    (np.zeros((8, 7), np.int16), "integers of shape"),
    (np.full((8, 8), 2**25), "must lie within"),
    (np.full((8, 8), np.iinfo(np.int64).min), "must lie within"),
])
def test_bad_input(bad, match):
    for f in (adct, iadct):
        with pytest.raises(ValueError, match=match):
            f(bad)


def test_unknown_kind():
    zeros = np.zeros((8, 8), int)
    for f in (lambda k: adct(zeros, k), lambda k: iadct(zeros, k), adct_matrix, scale, rotation, orthonormal):
        with pytest.raises(ValueError, match="kind must be one of mrdct"):
            f("wht")
