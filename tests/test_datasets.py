"""Datasets: many seeds, real layouts on disk, caches, and the real sets when GAN_COMPRESS_DATA is there."""
import io
import os
import warnings

import numpy as np
import pytest

from gan_compress import datasets
from gan_compress.datasets import Dataset, hide_labels, load, load_folder, near_copies, shapes, split
from gan_compress.images import save


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("grey", [False, True])
def test_shapes_are_deterministic_and_balanced(size, grey):
    a, b = shapes(40, size, grey, seed=3), shapes(40, size, grey, seed=3)
    assert np.array_equal(a.images, b.images) and a.images.shape == (40, size, size, 1 if grey else 3)
    assert np.array_equal(np.bincount(a.labels), [10] * 4)
    assert near_copies(a.images).max() == -1


def test_shapes_of_different_seeds_do_not_overlap():
    a, b = (shapes(200, 32, seed=s).images.reshape(200, -1).astype(float) for s in (0, 1))
    nearest = np.sqrt(((a ** 2).sum(1)[:, None] + (b ** 2).sum(1) - 2 * a @ b.T).min() / a.shape[1])
    assert nearest > 10      # grey levels, root mean square, of the most alike pair


def test_classes_of_shapes_can_be_told_apart_by_a_linear_classifier():
    from sklearn.linear_model import RidgeClassifier
    train, test = shapes(800, 32), shapes(200, 32, seed=1)
    flat = lambda d: np.abs(np.diff(d.images.mean(3), axis=1)).reshape(len(d), -1)
    assert RidgeClassifier(1e4).fit(flat(train), train.labels).score(flat(test), test.labels) > .7


@pytest.mark.parametrize("seed", range(5))
def test_splits_and_hidden_labels_keep_the_shares(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 200).astype(np.int32)
    data = Dataset(rng.integers(0, 255, (200, 16, 16, 3), np.uint8), labels, tuple("abcde"))
    first, second = split(data, .3, seed)
    assert len(first) + len(second) == 200
    counts = np.bincount(labels)
    assert np.all(np.abs(np.bincount(second.labels) - .3 * counts) <= 1)
    few = hide_labels(data, .05, seed)
    kept = np.bincount(few.labels[few.labels >= 0], minlength=5)
    assert np.all(kept >= 1) and np.all(np.abs(kept - .05 * counts) < 1.01)
    assert np.array_equal(few.labels[few.labels >= 0], labels[few.labels >= 0])


@pytest.mark.parametrize("seed", range(3))
def test_near_copies_finds_copies_across_blocks_and_keeps_the_first(seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 255, (2500, 16, 16, 1)).astype(np.uint8)
    pairs = [(0, 2400), (1000, 1030), (1023, 1024), (1030, 2499)]
    for a, b in pairs:
        images[b] = images[a]
    expected = np.full(2500, -1)
    for a, b in pairs:
        expected[b] = expected[a] if expected[a] >= 0 else a
    assert np.array_equal(near_copies(images), expected)


def test_class_folders_boxes_and_cache(tmp_path):
    data = shapes(12, 64)
    for i, (image, label) in enumerate(zip(data.images, data.labels)):
        place = tmp_path / "cars" / "train" / data.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        save(place / f"{i:02d}.png", image)
    found = load("cars", "train", 64, tmp_path, cache=tmp_path / "cache")
    assert found.classes == tuple(sorted(data.classes)) and len(found) == 12 and found.name == "cars-train"
    again = load("cars", "train", 64, tmp_path, cache=tmp_path / "cache")
    assert np.array_equal(found.images, again.images)
    assert again.classes == found.classes and again.report == found.report
    save(next((tmp_path / "cars" / "train" / "car").iterdir()), data.images[1])    # another picture, the same name
    assert not np.array_equal(load("cars", "train", 64, tmp_path, cache=tmp_path / "cache").images, found.images)


def test_the_devkits_layout_is_found_with_its_boxes(tmp_path):
    from scipy.io import savemat
    (tmp_path / "cars_train").mkdir()
    (tmp_path / "devkit").mkdir()
    rows, rng = [], np.random.default_rng(0)
    for i in range(1, 5):
        image = rng.integers(0, 255, (90, 120, 3)).astype(np.uint8)
        image[10:70, 20:100] = shapes(4, 64).images[i - 1, 2:62].repeat(2, 1)[:, :80]
        save(tmp_path / "cars_train" / f"{i:05d}.png", image)
        rows.append((21, 11, 100, 70, 1 + i % 2, f"{i:05d}.png"))
    dtype = [(n, "O") for n in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    savemat(tmp_path / "devkit" / "cars_train_annos.mat", {"annotations": np.array(rows, dtype)})
    savemat(tmp_path / "devkit" / "cars_meta.mat", {"class_names": np.array(["one", "two"], object)})
    found = load("cars", "train", 60, tmp_path, crop="stretch")
    assert found.classes == ("one", "two") and np.array_equal(found.labels, [1, 0, 1, 0])
    whole = load_folder(tmp_path / "cars_train", 60, crop="stretch")
    assert not np.array_equal(found.images, whole.images)


def test_what_is_hidden_or_broken_costs_itself_alone(tmp_path):
    for i, (image, name) in enumerate(zip(shapes(4, 64).images, ("a", "a", "b", "b"))):
        (tmp_path / name).mkdir(exist_ok=True)
        save(tmp_path / name / f"{i}.png", image)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    save(tmp_path / ".ipynb_checkpoints" / "0.png", shapes(1, 64).images[0])
    (tmp_path / "a" / "._0.png").write_bytes(b"x")
    (tmp_path / "a" / "dead.png").symlink_to("nowhere.png")
    (tmp_path / "b" / "cut.png").write_bytes((tmp_path / "b" / "2.png").read_bytes()[:300])
    for _ in range(2):                                             # the second time from the cache
        found = load_folder(tmp_path, 32, cache=tmp_path / ".cache")
        assert found.classes == ("a", "b") and list(found.labels) == [0, 0, 1, 1]
        assert found.report.dropped == {"unreadable": ("a/dead.png", "b/cut.png")}
    save(tmp_path / "stray.png", shapes(1, 64).images[0])
    with pytest.raises(ValueError, match="1 pictures beside 2 class folders with 6"): load_folder(tmp_path)


def test_what_is_left_out_below_is_named(tmp_path):
    a, b, c = shapes(3, 64).images
    for name in ("t/x", "t/y"):
        (tmp_path / name).mkdir(parents=True)
        save(tmp_path / name / "0.png", a)
    with pytest.raises(ValueError, match=r"2 pictures lie deeper, in t/x, t/y: give the folder above"): load(tmp_path)
    (tmp_path / "__MACOSX").mkdir()
    for image, place in ((b, tmp_path), (c, tmp_path / "__MACOSX")): save(place / "1.png", image)
    with pytest.warns(UserWarning, match="2 pictures lie deeper, in t/x, t/y, and are left out"):
        assert load(tmp_path).report.kept == 1
    (tmp_path / "t" / "dead").symlink_to("nowhere")
    with pytest.warns(UserWarning, match="no pictures in dead, so no class"):
        assert load(tmp_path / "t", copies=1.01).classes == ("x", "y")


def refilled(change):
    "A damage that changes the arrays in a cache."
    def damage(content):
        with np.load(io.BytesIO(content)) as stored: arrays = dict(stored)
        change(arrays)
        out = io.BytesIO()
        np.savez(out, **arrays)
        return out.getvalue()
    return damage


@pytest.mark.parametrize("damage", [
    lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b[:200] + b"\xff" + b[201:], lambda b: b"x" * len(b),
    refilled(lambda a: a.update(images=a["images"][:3])),                   # fewer than the listing says
    refilled(lambda a: a.update(images=a["images"][:, :16, :16])),
    refilled(lambda a: a.update(images=a["images"][..., :1])),
    refilled(lambda a: a.update(images=a["images"].astype(float))),
    refilled(lambda a: a.update(dropped='{"unreadable": ["0.png"]}')),
    refilled(lambda a: a.update(dropped="[]")),
    refilled(lambda a: a.pop("dropped")),
])
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
    for i, image in enumerate(shapes(4, 64).images): save(tmp_path / f"{i}.png", image)
    found = load_folder(tmp_path, 32, cache=tmp_path / "cache")
    file, = (tmp_path / "cache").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match="is damaged, the pictures are decoded again"):
        again = load_folder(tmp_path, 32, cache=tmp_path / "cache")
    assert np.array_equal(found.images, again.images) and found.report == again.report
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_folder(tmp_path, 32, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path):
    for i, image in enumerate(shapes(4, 64).images): save(tmp_path / f"{i}.png", image)
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.warns(UserWarning, match="are not kept"): found = load_folder(tmp_path, cache=tmp_path / "cache")
    assert len(found) == 4


NONSENSE = {"left of right": "40,1,20,60", "outside": "100,100,120,120", "negative": "-9,-9,-2,-2"}


def test_annotations_that_make_no_sense_drop_the_picture(tmp_path):
    for i, image in enumerate(shapes(8, 64).images): save(tmp_path / f"{i}.png", image)
    boxes = ["1,1,64,64", "1,1,99,99", *NONSENSE.values()]
    lines = [f"{i}.png,{box},{1 + i % 2}" for i, box in enumerate(boxes)]
    lines += ["5.png,1,1,64,64,99", "6.png,1,1,64,64,0", "7.png,1,1,64,64,2000000000"]
    (tmp_path / "anno.csv").write_text("\n".join(lines))
    (tmp_path / "names.csv").write_text("one\ntwo\n")
    found = load_folder(tmp_path, 32, annotations=tmp_path / "anno.csv")
    assert found.classes == ("one", "two") and list(found.labels) == [0, 1]
    assert found.report.dropped["bad box"] == ("2.png", "3.png", "4.png")
    assert found.report.dropped["bad class"] == ("5.png", "6.png", "7.png")
    (tmp_path / "names.csv").unlink()
    assert len(load_folder(tmp_path, 32, annotations=tmp_path / "anno.csv").classes) == 99


def test_names_of_classes_keep_their_lines_and_other_pictures_are_told(tmp_path):
    for i, image in enumerate(shapes(2, 64).images): save(tmp_path / f"{i}.png", image)
    (tmp_path / "names.csv").write_text("one\n\nthree\n")
    (tmp_path / "anno.csv").write_text("0.png,1,1,64,64,3\n1.png,1,1,64,64,1\n")
    found = load_folder(tmp_path, 32, annotations=tmp_path / "anno.csv")
    assert [found.classes[k] for k in found.labels] == ["three", "one"]
    (tmp_path / "anno.csv").write_text("00.png,1,1,64,64,3\n01.png,1,1,64,64,1\n")
    with pytest.warns(UserWarning, match=r"says nothing about 2 of 2 pictures \(0.png, 1.png\)"):
        assert list(load_folder(tmp_path, 32, annotations=tmp_path / "anno.csv").labels) == [-1, -1]


@pytest.mark.parametrize("name", ["a.mat", "a.csv"])
def test_a_damaged_file_of_annotations_is_one_error(tmp_path, name):
    from scipy.io import savemat
    row = np.array([(1, 3, 30, 20, 2, "1.jpg")], [(n, "O") for n in (
        "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")])
    savemat(tmp_path / "whole.mat", {"annotations": row})
    whole = (tmp_path / "whole.mat").read_bytes() if name == "a.mat" else b"1.jpg,1,3,30,20,2\n2.jpg,1,3,x,20,2\n"
    rng = np.random.default_rng(0)
    for k in range(40):
        mutated = bytearray(whole[:len(whole) * k // 20])
        for at in rng.integers(len(mutated), size=3) if k > 20 and mutated else (): mutated[at] = rng.integers(256)
        (tmp_path / name).write_bytes(mutated)
        try:
            datasets.read_annotations(tmp_path / name)
        except ValueError as e:
            assert "is damaged, or is no file of annotations" in str(e)
    with pytest.raises(FileNotFoundError): datasets.read_annotations(tmp_path / "nothing.mat")


def test_dogs_of_kaggle(tmp_path):
    place = tmp_path / "training_set" / "training_set" / "dogs"
    place.mkdir(parents=True)
    for i, image in enumerate(shapes(3, 64).images):
        save(place / f"dog.{i}.jpg", image)
    assert len(load("dogs", "train", 32, tmp_path)) == 3
    with pytest.raises(FileNotFoundError, match="test_set/test_set/dogs"):
        load("dogs", "test", 32, tmp_path)


def test_pictures_of_every_mode_become_what_was_asked(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in (("grey", (70, 60)), ("rgb", (60, 80, 3)), ("rgba", (64, 64, 4))):
        save(tmp_path / f"{name}.png", rng.integers(0, 255, shape).astype(np.uint8))
    assert load_folder(tmp_path, 32).images.shape == (3, 32, 32, 3)
    assert load_folder(tmp_path, 32, grey=True).images.shape == (3, 32, 32, 1)


def test_errors_say_what_and_where(tmp_path, monkeypatch):
    monkeypatch.delenv("GAN_COMPRESS_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="GAN_COMPRESS_DATA"):
        load("cars")
    with pytest.raises(FileNotFoundError, match="no folder"):
        load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="no pictures in"):
        load(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="1 unreadable"):
        load(tmp_path)
    save(tmp_path / "b.png", np.full((80, 80), 128, np.uint8))
    with pytest.raises(ValueError, match="1 unreadable, 1 almost uniform"):
        load(tmp_path)
    with pytest.raises(ValueError, match="no download for 'cats'"):
        datasets.download("cats")


@pytest.mark.parametrize("name, least", [("cars", 196), ("dogs", 0)])
def test_real_sets(name, least):
    root = os.environ.get("GAN_COMPRESS_DATA")
    if not root or not os.path.isdir(os.path.join(root, name)):
        warnings.warn(f"GAN_COMPRESS_DATA has no {name}: the real set was not read", stacklevel=1)
        pytest.skip("GAN_COMPRESS_DATA is not set or has no such set")
    found = load(name, "train", 32, limit=400)
    assert len(found) > 350 and len(found.classes) == least and found.report.found == 400
