"""Fuzzing: the decoders hold, and the fuzzer would see it if they did not."""
import json
import time

import numpy as np
import pytest

import gan_compress as gc
from gan_compress.bitstream import Chunk, Header, salvage, write_file
from gan_compress.codec import CODECS
from gan_compress.fuzzing import BYTES, FAULTS, OUTCOMES, OWN, REPAIRED, fuzz, judge, make_case, seeds

FAKES = """
import os, zlib
import numpy as np
from gan_compress.bitstream import BitstreamError
from gan_compress.codecs.pillow import PNG

real = PNG.decode_payload

def fake(self, payload, shape):
    try:
        return real(self, payload, shape)
    except BitstreamError:
        fault = zlib.crc32(payload) % 12
        if fault == 0: os.abort()
        while fault == 1: pass
        if fault == 2: raise MemoryError("more than there is")
        if fault == 3: return np.zeros((1, 2), np.uint8)
        raise

PNG.decode_payload = fake
"""


def test_no_decoder_has_a_fault():
    table = fuzz(1500)
    assert table.cases.sum() == 1500 and not table.attrs["faults"], table.attrs["faults"]
    assert set(OWN) == {name for name in CODECS if not CODECS[name].needs}
    assert set(table.codec) == set(OWN) and set(table.mutation) == {*BYTES, *REPAIRED}
    assert (table[list(OUTCOMES)].sum(axis=1) == table.cases).all()
    assert table.refused.sum() > 1000 and table.other.sum() > 10
    assert not table.other[table.mutation.isin(BYTES)].any()


@pytest.mark.parametrize("codec", sorted(set(CODECS) - set(OWN)))
def test_no_decoder_of_an_optional_codec_has_a_fault(codec):
    if codec not in gc.list_codecs(): pytest.skip(f'NOT TESTED: {codec}; pip install "gan_compress[anchors]"')
    table = fuzz(30, codecs=[codec])
    assert set(table.codec) == {codec} and table.cases.sum() == 30 and not table.attrs["faults"], table.attrs["faults"]


def test_a_case_can_be_repeated_alone():
    for index in range(40):
        one, two = make_case(index, 3), make_case(index, 3)
        assert one[:3] == two[:3] and one.data != one.whole[0].data
        assert judge(one)[:3] == judge(two)[:3]
    assert [make_case(k, 3).data for k in range(9)] != [make_case(k, 4).data for k in range(9)]
    assert make_case(5, 0, ("png",)).codec == "png"


def test_the_fuzzer_finds_faults(tmp_path, monkeypatch):
    "In the child a codec is replaced by one that dies, runs for ever, or raises what it should not."
    (tmp_path / "sitecustomize.py").write_text(FAKES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    table = fuzz(300, codecs=["png"], limit=.1, path=tmp_path / "run")
    assert table.cases.sum() == 300
    faults = table.attrs["faults"]
    reasons = {f["reason"].strip().splitlines()[-1] for f in faults}
    assert {f["outcome"] for f in faults} == {"crash", "hang", "wrong"}
    for reason in ("the process died", "no answer in 3 s", "MemoryError: more than", "gives no picture of shape"):
        assert any(reason in r for r in reasons), reason
    for f in faults:
        file = tmp_path / "run" / "faults" / f"png-{f['case']}.gcz"
        assert file.read_bytes() == make_case(f["case"], 0, ("png",)).data
    assert table[list(FAULTS)].sum().sum() == len(faults) < 60


def test_a_wrong_picture_is_seen():
    good, other = seeds("png")[0], seeds("png")[2]
    case = make_case(0)._replace(kind="bits", data=good.data, whole=(good,))
    assert judge(case).outcome == "same" and judge(case, limit=0).outcome == "hang"
    assert judge(case._replace(data=other.data)).outcome == "wrong"
    assert judge(case._replace(data=other.data, kind="payload")).outcome == "other"
    assert judge(case._replace(data=seeds("hybrid")[0].data)).outcome == "chance"


def test_a_run_goes_on(tmp_path):
    options = {"codecs": ["png", "jpeg"], "path": tmp_path / "run"}
    fuzz(300, **options)
    first = json.loads((tmp_path / "run" / "about.json").read_text())
    table = fuzz(1000, **options)
    whole = fuzz(1000, codecs=["png", "jpeg"], jobs=2)
    columns = ["codec", "mutation", "cases", *OUTCOMES]
    assert first["done"] == 300 and table[columns].equals(whole[columns])
    assert table.equals(fuzz(500, **options)) # nothing to do
    with pytest.raises(ValueError, match="holds a run with other seed"): fuzz(10, seed=1, **options)
    start = time.monotonic()
    some = fuzz(10**9, seconds=.5, codecs=["png"])
    assert 0 < some.cases.sum() < 10**5 and time.monotonic() - start < 20
    with pytest.raises(ValueError, match="n must be positive, got 0"): fuzz(0)
    with pytest.raises(ValueError, match="unknown codec"): fuzz(10, codecs=["gif"])


@pytest.mark.parametrize("short", [False, True])
def test_the_search_for_chunks_ends_soon_in_a_large_file(short):
    noise = np.random.default_rng(0).bytes(10**7)
    data = bytearray(write_file(Header(14, 1, (9, 9), short_crc=short), [Chunk(80, noise)]))
    data[15:24] = bytes(k ^ 90 for k in data[15:24])
    start = time.process_time()
    assert salvage(bytes(data))[1] == [] and time.process_time() - start < 2
