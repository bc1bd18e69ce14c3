"""The walk through a tile: every pass once and in order, features as `feature_layout` names them."""
import numpy as np
import pytest

from gan_compress.hybrid.lapped import COEFF_SCALE
from gan_compress.hybrid.passes import (
    LARGEST, LEVELS, PASSES, SEGMENTS, SIDES, Known, Pass, feature_layout, n_features, neighbour_sums, place,
    rows_of, slopes, take, walk)
from gan_compress.hybrid.tables import tables_for
from gan_compress.hybrid.tile import TileDecoder, TileEncoder

STEP_Q = 20 * COEFF_SCALE
SHAPES = [(1, 8, 12), (3, 8, 12), (1, 7, 9), (3, 7, 9), (3, 1, 1), (1, 1, 5), (3, 5, 1), (3, 2, 2), (1, 17, 33)]


class Magnitudes:
    "The least that `walk` asks of a tile: random magnitudes, and a note of every pass and its features."

    def __init__(self, n, h, w, seed=0, last=14):
        rng = np.random.default_rng(seed)
        sizes = [(h, w)]
        for _ in range(LEVELS - 1): sizes.insert(0, tuple(-(-s // 4) for s in sizes[0]))
        self.n, self.step_q, self.last = n, STEP_Q, last
        self.coeffs = [rng.integers(-9999, 9999, (n, side * side, *size)) for side, size in zip(SIDES, sizes)]
        self.magnitudes = [rng.geometric(.3, c.shape) * rng.choice([0, 1, 9], c.shape) for c in self.coeffs]
        self.levels, self.passes, self.stored, self.features = [], [], [], {}

    def begin(self, level): self.levels.append(level)

    def local_step(self, level): return self.step_q

    def wants(self, level, component, diagonal): return level < LEVELS - 1 or diagonal <= self.last

    def code(self, p, features):
        self.passes.append(p)
        self.features[p] = features
        return take(self.magnitudes[p.level][p.component][p.bands], p.phase)

    def store(self): self.stored.append(len(self.passes))


def walked(tile):
    "The tile, and how many passes were done at each pause."
    return tile, [len(tile.passes) for _ in walk(tile)]


def blocks_of(phase, h, w):
    "How many blocks a phase has."
    rows, columns = (h + 1) // 2, (w + 1) // 2
    return (rows * columns, (h // 2) * (w // 2), h * w - rows * columns - (h // 2) * (w // 2))[phase]


def expected_rows(tile, p, f):
    "The rows of a feature, from whole planes rather than from what the walk keeps."
    m = np.minimum(tile.magnitudes[p.level], LARGEST)
    if f.name == "one": return np.ones((1, blocks_of(p.phase, *m.shape[2:])))
    if f.name == "slopes":
        s = slopes(tile.coeffs[p.level][p.component, 0], STEP_Q)
        return take(np.concatenate([s, *neighbour_sums(np.minimum(s, 63))]), p.phase)[:f.rows]
    planes = m[f.component][Pass(p.level, 0, f.diagonal, 0).bands]
    if f.name == "block": return take(planes, p.phase)
    if f.name == "neighbours": return take(np.concatenate([planes, *neighbour_sums(planes)]), p.phase)
    across, down, corners = neighbour_sums(planes)
    return take(corners if f.name == "corners" else np.concatenate([across, down]), p.phase)


@pytest.mark.parametrize("n, h, w", SHAPES)
def test_walk_visits_every_pass_once_and_in_order(n, h, w):
    tile, pauses = walked(Magnitudes(n, h, w))
    assert tile.levels == list(range(LEVELS))
    sizes = [c.shape[2:] for c in tile.coeffs]
    expected = [p for p in PASSES if p.component < n and blocks_of(p.phase, *sizes[p.level])]
    assert tile.passes == expected
    assert len(pauses) == len(SEGMENTS) and pauses == tile.stored
    for done, (level, last) in zip(pauses, SEGMENTS):
        assert done == sum((p.level, p.diagonal) <= (level, last) for p in expected)


@pytest.mark.parametrize("n, h, w", SHAPES)
def test_features_are_what_the_layout_names(n, h, w):
    tile, _ = walked(Magnitudes(n, h, w, seed=1))
    for p, features in tile.features.items():
        layout = feature_layout(p)
        assert features.dtype == np.uint8
        assert features.shape == (n_features(p), blocks_of(p.phase, *tile.coeffs[p.level].shape[2:]))
        parts = [expected_rows(tile, p, f) for f in layout]
        assert [len(part) for part in parts] == [f.rows for f in layout]
        np.testing.assert_array_equal(features, np.concatenate(parts))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("h, w", [(6, 10), (7, 9)])
def test_layout_rows_equal_those_of_known_for_every_pass(n, h, w):
    "For every pass and not only those of a tile, whatever the magnitudes are."
    rng = np.random.default_rng(2)
    for level in range(LEVELS):
        known = Known(rng.integers(-999, 999, (n, h, w)).astype(np.int32), STEP_Q)
        for p in (p for p in PASSES if p.level == level and p.component < n):
            magnitudes = rng.integers(0, LARGEST + 1, (len(p.bands), h, w)).astype(np.uint8)
            assert len(known.features(p, magnitudes)) == n_features(p) == sum(f.rows for f in feature_layout(p))
            if p.phase == 2: known.add(p.component, p.diagonal, magnitudes)


def test_layout_looks_at_nothing_that_comes_later():
    for p in PASSES:
        for f in feature_layout(p):
            if f.name in ("one", "slopes"): continue
            if f.name in ("corners", "sides"):
                assert (f.component, f.diagonal) == (p.component, p.diagonal) and p.phase > 0
            else:
                assert f.component <= p.component and f.diagonal <= p.diagonal
                assert (f.component, f.diagonal) != (p.component, p.diagonal)


def test_rows_of_selects_rows_by_feature():
    for p in PASSES:
        layout = feature_layout(p)
        masks = {f: rows_of(p, lambda g, f=f: g == f) for f in layout}
        assert (np.sum(list(masks.values()), 0) == 1).all()
        for f, mask in masks.items():
            assert mask.sum() == f.rows * layout.count(f)  # diagonal 1 of chroma looks at that of luma twice
        assert rows_of(p, lambda f: False).sum() == 0


def test_diagonals_that_a_tile_does_not_want_are_skipped_and_count_as_zeros():
    tile, pauses = walked(Magnitudes(3, 8, 12, last=5))
    assert {p.diagonal for p in tile.passes if p.level == LEVELS - 1} == set(range(1, 6))
    assert len(pauses) == len(SEGMENTS) and pauses[-1] == pauses[-2]


def test_take_and_place_are_inverse_to_each_other():
    rng = np.random.default_rng(3)
    for n, h, w in SHAPES:
        planes = rng.integers(0, 99, (n, h, w))
        copy = np.zeros_like(planes)
        for phase in range(3):
            values = take(planes, phase)
            assert values.shape == (n, blocks_of(phase, h, w))
            place(copy, phase, values)
        assert (copy == planes).all()


@pytest.mark.parametrize("n, h, w", [(1, 7, 9), (3, 8, 12)])
def test_encoder_and_decoder_see_the_same_features(n, h, w):
    from gan_compress.entropy import RangeDecoder, RangeEncoder
    rng = np.random.default_rng(4)
    bands = (rng.laplace(size=(n, 64, h, w)) * 60 / (1 + np.arange(64))[:, None, None]).astype(np.float32)
    tables = tables_for(STEP_Q)

    def noting(cls):
        class Noting(cls):
            def code(self, p, features):
                vars(self).setdefault("features", {})[p] = features
                return super().code(p, features)
        return Noting

    encoder = noting(TileEncoder)(bands, STEP_Q, tables).run()
    stream = RangeEncoder()
    for segment in encoder.segments(): segment.write(stream)
    decoder = noting(TileDecoder)(np.zeros(bands.shape, np.int32), STEP_Q, tables)
    decoder.stream = RangeDecoder(stream.finish())
    assert sum(1 for _ in walk(decoder)) == len(SEGMENTS)
    for p, features in decoder.features.items(): np.testing.assert_array_equal(features, encoder.features[p])
    skipped = set(encoder.features) - set(decoder.features)  # diagonals without any magnitude above 0
    assert all(not c.magnitudes.any() for c in encoder.passes if c.p in skipped)
