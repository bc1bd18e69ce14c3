"""Pictures in and out: files of every kind that one meets, and places to write to that are no plain files."""
import hashlib
import io
import os
import stat
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from gan_compress import images
from gan_compress.images import PICTURES, clear_hidden, find_files, icc_profile, load, on_white, picture_bytes
from gan_compress.images import read_picture, resize, sample, save, write_atomic

CAT = resize(sample("chelsea"), (40, 60))
DEEP = np.random.default_rng(0).integers(0, 65536, (6, 7, 4)).astype(np.uint16)


def told(file):
    "The picture, its profile, and what was warned of."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = read_picture(file)
    return picture, [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


def rounded(samples, bits=16):
    return np.rint(samples / (2**bits - 1) * 255).astype(np.uint8)


def pillow(image, fmt, **options):
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def png(samples, kind, depth=16, key=None):
    "A PNG of whole bytes a row, written by hand: Pillow writes no deep colour."
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    h, w = samples.shape[:2]
    rows = np.packbits(samples, axis=1) if depth == 1 else samples.astype(">u2")
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    key = b"" if key is None else chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + key + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


# ---- depth -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, samples", [(0, DEEP[..., 0]), (2, DEEP[..., :3]), (6, DEEP)])
def test_deep_png_is_rounded_and_said(kind, samples):
    picture, notes = told(png(samples, kind))
    assert np.array_equal(picture.pixels, rounded(samples)) and "16 bits a channel, reduced to 8" in notes[0]


def test_deep_files_of_other_formats():
    tifffile = pytest.importorskip("tifffile")
    for samples in (DEEP[..., 0], DEEP[..., :3]):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, samples)
        picture, notes = told(buffer.getvalue())
        assert np.array_equal(picture.pixels, rounded(samples)) and "16 bits" in notes[0]
    for peak, bits in ((65535, 16), (1023, 10)):
        data = b"P6 7 6 %d\n" % peak + (DEEP[..., :3] & peak).astype(">u2").tobytes()
        picture, notes = told(data)
        assert np.array_equal(picture.pixels, rounded(DEEP[..., :3] & peak, bits)) and f"{bits} bits" in notes[0]
    cv2 = pytest.importorskip("cv2")
    smooth = np.repeat(np.arange(0, 65536, 1024, dtype=np.uint16)[None], 64, 0)
    data = cv2.imencode(".jp2", np.dstack([smooth] * 3))[1].tobytes()
    picture, notes = told(data)
    assert np.abs(picture.pixels[..., 0].astype(int) - rounded(smooth)).max() <= 1 and "16 bits" in notes[0]


@pytest.mark.parametrize("width", [1, 4, 5, 16, 533])
@pytest.mark.parametrize("fmt", ["BMP", "PNG", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA"])
def test_eight_bits_are_not_called_deep(fmt, width):
    assert told(pillow(Image.new("RGB", (width, 16), (9, 8, 7)), fmt))[1] == []


def test_numbers_without_a_range_are_refused():
    few, many = (Image.fromarray(np.array([[0, 100, top]], np.int32)) for top in (255, 70000))
    picture, notes = told(pillow(few, "TIFF"))
    assert picture.pixels.tolist() == [[0, 100, 255]] and "taken for 0..255" in notes[0]
    for image in (many, Image.fromarray(np.array([[.5, 1]], np.float32))):
        with pytest.raises(ValueError, match="nothing says what is white"):
            load(pillow(image, "TIFF"))


def test_deep_planes_apart_are_refused():
    tifffile, buffer = pytest.importorskip("tifffile"), io.BytesIO()
    tifffile.imwrite(buffer, DEEP[..., :3].transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    with pytest.raises(ValueError, match="separate planes"):
        load(buffer.getvalue())


# ---- transparency ----------------------------------------------------------------------------------------------------


def test_a_transparent_colour_is_found_at_the_depth_of_the_file():
    key = tuple(int(v) for v in DEEP[2, 3, :3])
    near = DEEP[..., :3].copy()
    near[0, 0] = key[0], key[1], key[2] ^ 1                       # the same in its upper bytes
    pixels = told(png(near, 2, key=key))[0].pixels
    assert pixels[2, 3, 3] == 0 and pixels[0, 0, 3] == 255 and (pixels[..., 3] == 0).sum() == 1
    assert np.array_equal(pixels[..., :3], rounded(near))
    grey = told(png(DEEP[..., 0], 0, key=(int(DEEP[1, 1, 0]),)))[0].pixels
    assert grey.shape == (6, 7, 4) and grey[1, 1, 3] == 0 and (grey[..., 3] == 0).sum() == 1
    bits = np.random.default_rng(1).integers(0, 2, (5, 16), dtype=np.uint8)
    for white in (0, 1):
        pixels = told(png(bits, 0, depth=1, key=(white,)))[0].pixels
        assert np.array_equal(pixels[..., 3] == 0, bits == white) and np.array_equal(pixels[..., 0], bits * 255)


def test_colours_that_cannot_be_seen():
    glass = np.random.default_rng(2).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    glass[..., 3] = np.where(glass[..., 3] < 100, 0, glass[..., 3])
    cleared = clear_hidden(glass)
    assert np.array_equal(on_white(cleared), on_white(glass)) and np.array_equal(cleared[..., 3], glass[..., 3])
    assert len(np.unique(cleared[glass[..., 3] == 0], axis=0)) == 1
    assert np.array_equal(clear_hidden(CAT), CAT)
    assert not clear_hidden(glass * np.array([1, 1, 1, 0], np.uint8)).any()


# ---- orientation and damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", range(1, 9))
def test_orientation_in_every_format(turned):
    exif = Image.Exif()
    exif[0x0112] = turned
    from PIL import ImageOps
    for mode in ("L", "RGB", "RGBA", "CMYK", "P"):
        image = Image.fromarray(CAT).convert(mode)
        for fmt, options in (("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("PNG", {})):
            if fmt == "PNG" and mode == "CMYK": continue
            data = pillow(image, fmt, exif=exif, **options)
            with Image.open(io.BytesIO(data)) as im:
                upright = np.asarray(ImageOps.exif_transpose(im).convert("RGB"))
            got = told(data)[0].pixels
            assert np.array_equal(got[..., :3] if got.ndim == 3 else np.dstack([got] * 3), upright), (mode, fmt)


@pytest.mark.parametrize("fmt, frames", [("TIFF", 3), ("GIF", 3), ("AVIF", 3), ("WEBP", 3), ("PNG", 3), ("PNG", 1),
                                         ("JPEG", 1), ("JPEG2000", 1), ("BMP", 1), ("PPM", 1), ("TGA", 1)])
def test_damage_is_one_kind_of_error(fmt, frames):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    first, rng = Image.fromarray(CAT), np.random.default_rng(0)
    more = [first.rotate(90 * k) for k in range(1, frames)]
    options = {"save_all": True, "append_images": more} if more else {}
    if fmt in ("TIFF", "WEBP", "PNG", "JPEG"): options["exif"] = exif
    data = pillow(first, fmt, **options)
    for _ in range(150):
        hit = bytearray(data[:rng.integers(1, len(data))] if rng.random() < .5 else data)
        for at in rng.integers(0, min(len(hit), 400), rng.integers(1, 6)): hit[at] = rng.integers(256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load(bytes(hit))
        except ValueError as e:
            assert "the picture" in str(e)


def test_a_damaged_exif_block_does_not_cost_the_picture(monkeypatch):
    def damaged(self): raise SyntaxError("not a TIFF file")
    monkeypatch.setattr(Image.Image, "getexif", damaged)
    picture, notes = told(picture_bytes(CAT, ".png"))
    assert np.array_equal(picture.pixels, CAT) and "EXIF block is damaged" in notes[0]


# ---- colour profiles -------------------------------------------------------------------------------------------------

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_CURVE = SRGB.index(b"para")
LINEAR = SRGB.replace(SRGB[_CURVE:_CURVE + 16], SRGB[_CURVE:_CURVE + 12] + (1 << 16).to_bytes(4, "big"))


def grey_profile(gamma):
    "A minimal version 2 profile of a grey scale."
    def fixed(x): return struct.pack(">i", round(x * 65536))
    white = b"".join(map(fixed, (0.9642, 1, 0.8249)))
    name = b"grey\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + b"\0" * 78,
            b"wtpt": b"XYZ \0\0\0\0" + white,
            b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)), b"cprt": b"text\0\0\0\0none\0"}
    body = table = b""
    for tag, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value
    size = 132 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s6H", size, b"none", 0x02400000, b"mntr", b"GRAY", b"XYZ ", 2020, 1, 1, 0, 0, 0)
    return (head + b"acsp" + b"\0" * 28 + white).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def test_a_profile_is_judged_by_what_it_does():
    assert b"s\0R\0G\0B" in LINEAR                                   # its name says sRGB
    assert icc_profile(picture_bytes(CAT, ".png", icc=SRGB)) is None
    assert icc_profile(picture_bytes(CAT, ".png", icc=LINEAR)) == LINEAR


def test_a_profile_fits_its_picture():
    dark = grey_profile(1)
    grey, image = CAT[..., 1].copy(), Image.fromarray(CAT[..., 1])
    picture, notes = told(pillow(image, "PNG", icc_profile=dark))
    assert picture.icc == dark and np.array_equal(picture.pixels, grey) and not notes
    image.putalpha(255)
    picture, notes = told(pillow(image, "PNG", icc_profile=dark))    # becomes RGBA: the profile is applied
    wanted = ImageCms.profileToProfile(Image.fromarray(grey), ImageCms.ImageCmsProfile(io.BytesIO(dark)),
                                       ImageCms.createProfile("sRGB"), 1, "RGB")
    assert picture.icc is None and np.array_equal(picture.pixels[..., :3], wanted) and "now sRGB" in notes[-1]
    picture, notes = told(pillow(Image.fromarray(grey), "PNG", icc_profile=LINEAR))
    assert picture.icc is None and picture.pixels.ndim == 2 and picture.pixels.mean() > grey.mean()
    picture, notes = told(pillow(Image.fromarray(CAT), "PNG", icc_profile=b"nonsense" * 30))
    assert picture.icc is None and "colour profile is left out" in notes[0]
    with pytest.warns(UserWarning, match="for another kind of picture"):
        assert icc_profile(picture_bytes(CAT, ".png", icc=dark)) is None


@pytest.mark.parametrize("extension", sorted(PICTURES))
def test_what_a_format_cannot_hold_is_said(extension):
    alpha = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1))
    for image in (CAT[..., 0].copy(), CAT, np.dstack([CAT, alpha])):
        profile = LINEAR if image.ndim == 3 else None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                data = picture_bytes(image, extension, icc=profile)
            except ValueError as e:
                assert "cannot hold" in str(e) and (image.shape[2:] == (4,) or extension == ".qoi" and image.ndim == 2)
                continue
        notes = " ".join(str(w.message) for w in caught)
        back = told(data)[0]
        assert back.icc == profile or "colour profile" in notes
        same = on_white(image if image.ndim == 3 else np.dstack([image] * 3))
        seen = on_white(back.pixels if back.pixels.ndim == 3 else np.dstack([back.pixels] * 3))
        error = np.mean((same.astype(float) - seen) ** 2)
        assert error == 0 or "colours change" in notes or images.near_lossless(extension) and error < 4


def test_a_quality_that_is_given_counts():
    for extension in (".jpg", ".webp", ".avif"):
        assert len(picture_bytes(CAT, extension, quality=30)) < len(picture_bytes(CAT, extension)) / 2
        assert images.near_lossless(extension)
    assert images.near_lossless(".png") == ""


# ---- places to write to ----------------------------------------------------------------------------------------------


def test_links_are_followed_and_permissions_stay(tmp_path):
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far/real.bin", tmp_path / "link.bin"
    link.symlink_to("far/real.bin")
    write_atomic(link, b"first")                                   # the link led nowhere yet
    os.chmod(real, 0o640)
    write_atomic(link, b"second")
    assert link.is_symlink() and real.read_bytes() == b"second" and stat.S_IMODE(real.stat().st_mode) == 0o640
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "new.bin", b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new.bin").stat().st_mode) == 0o640
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="round"):
        write_atomic(tmp_path / "round", b"")
    assert sorted(p.name for p in tmp_path.rglob("*.part")) == []


def test_a_pipe_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_atomic(tmp_path / "pipe", b"through")
    reader.join(20)
    assert got == [b"through"] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_device_is_named():
    with pytest.raises(OSError, match="/dev/full"):
        write_atomic("/dev/full", b"x" * 10000)


def test_the_longest_name_is_written_and_errors_name_it(tmp_path):
    name = "写" * 83 + ".gcz"                                       # 253 bytes
    write_atomic(tmp_path / name, b"x")
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(OSError, match="nowhere/x.gcz"):
        write_atomic(tmp_path / "nowhere/x.gcz", b"x")


def test_a_pipe_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    data = picture_bytes(CAT, ".png", icc=LINEAR)
    writer = threading.Thread(target=lambda: (tmp_path / "pipe.png").write_bytes(data))
    writer.start()
    picture = read_picture(tmp_path / "pipe.png")
    writer.join(20)
    assert np.array_equal(picture.pixels, CAT) and picture.icc == LINEAR


def test_files_of_a_folder(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden.png", "._a.png", "notes.txt"): save_bytes(tmp_path / name)
    for folder in ("deep", ".ipynb_checkpoints"):
        (tmp_path / folder).mkdir()
        save_bytes(tmp_path / folder / "c.png")
    (tmp_path / "dead.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    files, skipped = find_files(tmp_path)
    assert [f.name for f in files] == ["a.JPG", "b.png", "dead.png"]
    assert [f.name for f in skipped] == ["deep", "notes.txt", "pipe.png"]
    files, skipped = find_files(tmp_path, below=True)
    assert [f.name for f in files] == ["a.JPG", "b.png", "dead.png", "c.png"]
    assert [f.name for f in skipped] == ["notes.txt", "pipe.png"]


def save_bytes(path): path.write_bytes(picture_bytes(CAT, ".png"))


def test_save_leaves_nothing_behind_when_it_fails(tmp_path):
    with pytest.raises(ValueError, match="x.jpg"):
        save(tmp_path / "x.jpg", np.zeros((4, 4, 4), np.uint8))
    assert os.listdir(tmp_path) == []


# ---- TIFF as its tags say --------------------------------------------------------------------------------------------


def tiff(samples, **options):
    buffer = io.BytesIO()
    pytest.importorskip("tifffile").imwrite(buffer, samples, metadata=None, **options)
    return told(buffer.getvalue())


def test_white_may_be_zero():
    for dtype, peak in ((np.uint8, 255), (np.uint16, 65535)):
        picture, _ = tiff(np.full((4, 4), round(.8 * peak), dtype), photometric="miniswhite")
        assert abs(int(picture.pixels[0, 0]) - 51) <= 1


def test_the_fourth_channel_of_a_deep_tiff():
    samples = np.full((4, 4, 4), 16384, np.uint16)
    samples[..., 3] = 32768
    for extra, pixel in (("unassalpha", (64, 64, 64, 128)), ("assocalpha", (128, 128, 128, 128)),
                         ("unspecified", (64, 64, 64))):
        picture, _ = tiff(samples, photometric="rgb", extrasamples=[extra])
        assert np.abs(picture.pixels[0, 0].astype(int) - pixel).max() <= 1, extra


def test_signed_samples_are_refused():
    with pytest.raises(ValueError, match="signed"): tiff(np.full((4, 4), -5, np.int8))
    assert tiff(np.array([[0, 9, 255]], np.int16))[0].pixels.tolist() == [[0, 9, 255]]


def test_deep_grey_of_every_format_is_said():
    for data in (b"P5\n2 1\n65535\n" + b"\x80\x01" * 2, pillow(Image.fromarray(CAT), "SGI", bpc=2)):
        assert any("16 bits a channel" in note for note in told(data)[1])


def test_a_grey_profile_never_touches_colours_and_never_ends_in_a_file_of_colours():
    dark, grey = grey_profile(2.2), CAT[..., 1].copy()
    picture, notes = told(pillow(Image.fromarray(CAT), "PNG", icc_profile=dark))
    assert np.array_equal(picture.pixels, CAT) and picture.icc is None and "profile is left out" in notes[0]
    for extension in (".webp", ".avif", ".png", ".jpg", ".tif"):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            data = picture_bytes(grey, extension, icc=dark)
        with Image.open(io.BytesIO(data)) as written:
            assert written.mode == "L" or not written.info.get("icc_profile"), extension


@pytest.mark.parametrize("call", [lambda: picture_bytes(None, ".png"), lambda: picture_bytes(CAT, ".png", icc=3),
                                  lambda: images.recode([1], "PNG"), lambda: images.recode(CAT, "NIX"),
                                  lambda: images.recode(CAT, 3), lambda: picture_bytes(CAT / 2, ".png"),
                                  lambda: picture_bytes(CAT, ".png", pnginfo=3), lambda: picture_bytes(CAT, ".pdf")])
def test_misuse_is_told(call):
    with pytest.raises((TypeError, ValueError), match="picture|profile|format") as told_of: call()
    assert len(str(told_of.value)) < 300


def test_every_kind_has_embedded_pictures_and_they_stay_the_same():
    program = ("import hashlib, sys\nfrom gan_compress.images import samples, sample\n"
               "for name in samples(): print(name, hashlib.sha256(sample(name).tobytes()).hexdigest())\n"
               "assert 'matplotlib' not in sys.modules, 'drawing imports matplotlib'")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    elsewhere = dict(line.split() for line in run.stdout.splitlines())
    assert elsewhere == {name: hashlib.sha256(sample(name).tobytes()).hexdigest() for name in images.samples()}
    of_kind = {kind: images.samples(kind) for kind in images.KINDS}
    assert min(map(len, of_kind.values())) >= 2 and sum(of_kind.values(), ()) == images.samples()
    with pytest.raises(ValueError, match="there are photograph, architecture, screen, text scan, drawing"):
        images.samples("photo")
