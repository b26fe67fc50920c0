"""Image files of many detectors, written by the packages that define them, read pixel by pixel."""

import bz2
import gzip
import logging
import math
import os
import re
import shutil
import struct

import fabio
import numpy as np
import pytest
import tifffile
from fabio import (
    OXDimage,
    adscimage,
    bruker100image,
    cbfimage,
    dtrekimage,
    edfimage,
    esperantoimage,
    marccdimage,
    pnmimage,
)

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import MAX_FRAME_BYTES, decode
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.frames.header_geometry import NoGeometryError, read_geometry
from streamer.sources import open_source
from streamer.sources.files.headers import of_keys, of_pilatus
from tests.conftest import SHARED

START_NS = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z

# Writers complain of what is no defect of a file.
logging.getLogger("fabio").setLevel(logging.CRITICAL)


def frames(n, dtype="<u2", shape=(24, 31), seed=0):
    """Counts, with the negative ones and the largest that detectors mark pixels with."""
    data = np.random.default_rng(seed).poisson(3, (n, *shape)).astype(dtype)
    if data.dtype.kind == "i":
        data[:, 3], data[:, 5, 6] = -1, -2
    if data.dtype.kind in "iu":
        data[:, 7, 8] = np.iinfo(data.dtype).max
    data[:, 9, 9] = min(1_046_527, int(data.max()))
    return data


def play(uri, portion=3, **config):
    """Read a source to its end, in portions."""
    source = open_source(uri, SourceConfig(**config))
    events = []
    while not source.exhausted:
        events += source.read(portion)
    source.close()
    assert isinstance(events[0], Series)
    assert isinstance(events[-1], SeriesEnd)
    numbers = []
    for event in events[1:-1]:
        numbers += [event.frame] if isinstance(event, Frame) else event.frames
    assert numbers == list(range(events[0].n_frames)), "each frame is in exactly one event"
    return events


def assert_frames(events, expected):
    """Compare every pixel; `expected` is a stack, or {number: frame}."""
    got = {
        e.frame: decode(e.data, e.encoding, e.dtype, e.shape)
        for e in events
        if isinstance(e, Frame)
    }
    expected = expected if isinstance(expected, dict) else dict(enumerate(expected))
    assert sorted(got) == sorted(expected)
    for number, frame in expected.items():
        assert got[number].dtype.newbyteorder("=") == frame.dtype.newbyteorder("=")
        np.testing.assert_array_equal(got[number], frame)


def gaps(events):
    return [(e.frames, e.reason) for e in events if isinstance(e, Gap)]


def write_cbf(path, frame, **header):
    cbfimage.CbfImage(data=frame, header=header).write(str(path))


def write_edf(path, data, headers=None):
    headers = headers or [{} for _ in data]
    image = edfimage.EdfImage(data=data[0], header=headers[0])
    for frame, header in zip(data[1:], headers[1:], strict=True):
        image.append_frame(data=frame, header=header)
    image.write(str(path))


def write_ge(path, data, n_said=None, style="adept"):
    """Write a file as the detector's own program does, or as beamlines came to do."""
    head = bytearray(8192)
    if style == "adept":
        bits = data.dtype.itemsize * 8
        n_said = len(data) if n_said is None else n_said
        struct.pack_into(
            "<10sHIHIHHHH", head, 0, b"ADEPT", 1, 8192, 1, 0, n_said, *data.shape[1:], bits
        )
        struct.pack_into("<ff", head, 696, 250.0, 3.2)
    elif style == "edf":
        text = f"{{\nNum_Images = {len(data) if n_said is None else n_said} ;\n}}"
        head[: len(text)] = text.encode()
    path.write_bytes(bytes(head) + data.tobytes())


# --- single frames -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<u4", "<i4"])
@pytest.mark.parametrize("shape", [(24, 31), (33, 10)])
def test_cbf(tmp_path, dtype, shape):
    data = frames(1, dtype, shape)
    write_cbf(tmp_path / "a.cbf", data[0])
    events = play(tmp_path / "a.cbf")
    assert events[0].name == "a"
    assert_frames(events, data)


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<u4", "<i4", "<f4"])
@pytest.mark.parametrize("n", [1, 6])
def test_edf(tmp_path, dtype, n):
    data = frames(n, dtype)
    write_edf(tmp_path / "run.edf", data)
    events = play(tmp_path / "run.edf")
    assert_frames(events, data)
    with fabio.open(str(tmp_path / "run.edf")) as image:
        assert_frames(events, np.array([frame.data.copy() for frame in image.frames()]))


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<u4"])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("suffix", [".ge", ".ge2", ".ge3", ".GE5"])
def test_ge(tmp_path, dtype, n, suffix):
    data = frames(n, dtype)
    path = tmp_path / f"ni_0042{suffix}"
    write_ge(path, data)
    events = play(path)
    assert_frames(events, data)
    assert events[0].frame_time_s == pytest.approx(1 / 3.2)
    assert events[0].metadata["count_time"] == 0.25
    assert {(e.encoding, type(e.data)) for e in events[1:-1]} == {("raw", memoryview)}
    with fabio.open(str(path)) as image:
        for number in range(n):
            np.testing.assert_array_equal(image.getframe(number).data, data[number])


@pytest.mark.parametrize("style", ["blank", "edf"])
def test_ge_with_another_header(tmp_path, style):
    data = frames(2, "<u2", (2048, 2048))
    write_ge(tmp_path / "run.ge3", data, style=style)
    assert_frames(play(tmp_path / "run.ge3"), data)


def write_mccd(path, frame):
    """Write TIFF as a MarCCD does: its own 3072 bytes between the directory and the pixels."""
    tags = [
        (256, 4, frame.shape[1]),
        (257, 4, frame.shape[0]),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 4096),
        (277, 3, 1),
        (278, 4, frame.shape[0]),
        (279, 4, frame.nbytes),
    ]
    head = bytearray(4096)
    struct.pack_into("<2sHIH", head, 0, b"II", 42, 8, len(tags))
    for number, (tag, kind, value) in enumerate(tags):
        struct.pack_into("<HHII", head, 10 + 12 * number, tag, kind, 1, value)
    struct.pack_into("<I", head, 1024 + 28, 1234)
    struct.pack_into("<I", head, 1024 + 36, 3072)
    struct.pack_into("<I", head, 1024 + 104, 65_000)
    struct.pack_into("<iii", head, 1024 + 640, 120_000, 15_500, 12_250)
    struct.pack_into("<i", head, 1024 + 656, 90)
    struct.pack_into("<ii", head, 1024 + 772, 79_000, 79_000)
    struct.pack_into("<i", head, 1024 + 908, 97_950)
    head[1024 + 1344 : 1024 + 1359] = b"111422132023.20"
    path.write_bytes(bytes(head) + frame.tobytes())


def test_marccd(tmp_path):
    data = frames(1)
    path = tmp_path / "a.mccd"
    write_mccd(path, data[0])
    with fabio.open(str(path)) as image:
        assert isinstance(image, marccdimage.MarccdImage)
        np.testing.assert_array_equal(image.data, data[0])
    header = marccdimage.interpret_header(
        path.read_bytes()[1024:4096], marccdimage.HEADER_FORMAT, marccdimage.HEADER_NAMES
    )
    assert header["xtal_to_detector"] == 120_000
    assert header["source_wavelength"] == 97_950
    assert header["exposure_time"] == 90
    assert header["saturated_value"] == 65_000
    events = play(path)
    assert_frames(events, data)
    assert events[0].saturation == 65_000
    assert events[0].metadata == {
        "detector_distance": pytest.approx(0.12),
        "beam_center_x": pytest.approx(15.5),
        "beam_center_y": pytest.approx(12.25),
        "count_time": pytest.approx(0.09),
        "pixel_size_x": pytest.approx(79e-6),
        "pixel_size_y": pytest.approx(79e-6),
        "incident_wavelength": pytest.approx(0.9795),
        "warnings": ["the dates in it name no time zone and are taken as UTC"],
    }
    assert events[1].time_ns == START_NS


@pytest.mark.parametrize(
    ("suffix", "codec", "dtype", "shape"),
    [
        (".img", dtrekimage.DtrekImage, "<u2", (24, 31)),
        (".img", OXDimage.OxdImage, "<i4", (24, 32)),
        (".pgm", pnmimage.PnmImage, "<u2", (24, 31)),
        (".sfrm", bruker100image.Bruker100Image, "<i4", (24, 32)),
        (".esper", esperantoimage.EsperantoImage, "<i4", (256, 256)),
    ],
)
def test_what_else_is_read_by_fabio(tmp_path, suffix, codec, dtype, shape):
    data = np.random.default_rng(1).poisson(30, shape).astype(dtype)
    path = tmp_path / f"a{suffix}"
    codec(data=data, header={}).write(str(path))
    with fabio.open(str(path)) as image:
        expected = image.data.copy()
    np.testing.assert_array_equal(expected, data)
    assert_frames(play(path), [expected])


def recode_cbf(path, frame, kind, order="LITTLE_ENDIAN", **said):
    """Write a CBF file whose pixels lie plainly in it, and whose header says other things."""
    write_cbf(path, np.zeros(frame.shape, "i4"))
    head, _, rest = path.read_bytes().partition(b"\x0c\x1a\x04\xd5")
    size = int(re.search(rb"X-Binary-Size: (\d+)", head)[1])
    values = {
        "conversions": '"x-CBF_NONE"',
        "X-Binary-Size": frame.nbytes,
        "X-Binary-Element-Type": f'"{kind}"',
        "X-Binary-Element-Byte-Order": order,
        **{name.replace("_", "-"): value for name, value in said.items()},
    }
    head = re.sub(rb"Content-MD5: .*\r\n", b"", head)
    for name, value in values.items():
        head = re.sub(rf"({name} *[:=] *)[^\r\n]+".encode(), rf"\g<1>{value}".encode(), head)
    path.write_bytes(head + b"\x0c\x1a\x04\xd5" + frame.tobytes() + rest[size:])


@pytest.mark.parametrize(
    ("kind", "dtype", "order"),
    [
        ("signed 32-bit integer", "<i4", "LITTLE_ENDIAN"),
        ("unsigned 16-bit integer", ">u2", "BIG_ENDIAN"),
        ("signed 32-bit real IEEE", "<f4", "LITTLE_ENDIAN"),
        ("signed 64-bit real IEEE", ">f8", "BIG_ENDIAN"),
    ],
)
def test_a_cbf_without_coding(tmp_path, kind, dtype, order):
    data = frames(1, dtype)
    recode_cbf(tmp_path / "a.cbf", data[0], kind, order)
    assert_frames(play(tmp_path / "a.cbf"), data)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"X_Binary_Size_Second_Dimension": 12}, "12 x 31 pixels, which are said to be 744"),
        ({"X_Binary_Number_of_Elements": 700}, "24 x 31 pixels, which are said to be 700"),
        ({"X_Binary_Size": 8000}, "truncated"),
        ({"conversions": '"x-CBF_PACKED"'}, "x-cbf_packed, which is not read: write it anew"),
    ],
)
def test_a_cbf_that_contradicts_itself_is_refused(tmp_path, said, why):
    recode_cbf(tmp_path / "a.cbf", frames(1, "<i4")[0], "signed 32-bit integer", **said)
    with pytest.raises(UserError, match=why):
        play(tmp_path / "a.cbf")


# --- headers -------------------------------------------------------------------------------------

PILATUS = """# Detector: PILATUS 6M, S/N 60-0100-D
# 2023-11-14T22:13:20.500
# Pixel_size 172e-6 m x 173e-6 m
# Silicon sensor, thickness 0.000320 m
# Exposure_time 0.0950000 s
# Exposure_period 0.1000000 s
# Tau = 199.1e-09 s
# Count_cutoff 1048500 counts
# Threshold_setting: 6331 eV
# Wavelength 0.97950 A
# Detector_distance 0.20000 m
# Beam_xy (1231.50, 1263.25) pixels"""

PILATUS_FACTS = {
    "warnings": ["the dates in it name no time zone and are taken as UTC"],
    "detector_description": "PILATUS 6M",
    "detector_serial_number": "60-0100-D",
    "sensor_material": "Silicon",
    "sensor_thickness": 0.00032,
    "pixel_size_x": 172e-6,
    "pixel_size_y": 173e-6,
    "count_time": 0.095,
    "threshold_energy": 6331.0,
    "incident_wavelength": 0.9795,
    "detector_distance": 0.2,
    "beam_center_x": 1231.5,
    "beam_center_y": 1263.25,
}


@pytest.mark.parametrize("kind", ["cbf", "tiff"])
def test_pilatus_says_what_the_live_stream_says(tmp_path, kind):
    data = frames(1, "<i4")
    path = tmp_path / f"a.{kind}"
    if kind == "cbf":
        header = {
            "_array_data.header_convention": "PILATUS_1.2",
            "_array_data.header_contents": PILATUS.replace("\n", "\r\n"),
        }
        write_cbf(path, data[0], **header)
    else:
        tifffile.imwrite(path, data[0], description=PILATUS, metadata=None)
    events = play(path)
    assert_frames(events, data)
    series = events[0]
    assert (series.frame_time_s, series.saturation) == (0.1, 1_048_500)
    assert series.metadata == PILATUS_FACTS
    assert events[1].time_ns == START_NS + 500_000_000
    assert play(path, frame_time_s=0.2)[0].frame_time_s == 0.2


def test_edf_says_when_each_frame_was_taken(tmp_path):
    data = frames(3)
    headers = [
        {
            "count_time": "0.25",
            "acq_latency_time": "0.05",
            "WaveLength": "9.795e-11",
            "SampleDistance": "0.2",
            "Center_1": "15.5",
            "time_of_day": f"{1_700_000_000 + number / 2:.6f}",
        }
        for number in range(3)
    ]
    write_edf(tmp_path / "run.edf", data, headers)
    events = play(tmp_path / "run.edf")
    assert events[0].frame_time_s == pytest.approx(0.3)
    assert events[0].metadata == {
        "count_time": 0.25,
        "incident_wavelength": pytest.approx(0.9795),
        "detector_distance": 0.2,
        "beam_center_x": 15.5,
    }
    assert [e.time_ns for e in events[1:-1]] == [START_NS + n * 500_000_000 for n in range(3)]


SAID_BY_PILATUS = {
    "Detector_distance 0.25 m": ("detector_distance", 0.25),
    "Detector_distance 250.0 mm": ("detector_distance", 0.25),
    "Detector_distance: 25 [cm]": ("detector_distance", 0.25),
    "Detector_distance 0.25": ("detector_distance", 0.25),
    "Pixel_size 172 um x 173 um": ("pixel_size_y", 173e-6),
    "Pixel_size 172e-6 x 173e-6 m": ("pixel_size_x", 172e-6),
    "Wavelength 0.09795 nm": ("incident_wavelength", 0.9795),
    "Energy: 12.658 keV": ("incident_energy", 12_658.0),
    "Exposure_time 95 ms": ("count_time", 0.095),
    "Beam_xy (1231.50, 1263.25)": ("beam_center_y", 1263.25),
    "Beam_xy (211.818, 218.54225) mm": ("beam_center_y", 1263.25),
    "Detector_2theta 12.5 deg.": ("two_theta_start", 12.5),
}


@pytest.mark.parametrize("line", SAID_BY_PILATUS)
def test_a_header_is_taken_in_the_units_that_it_names(line):
    name, value = SAID_BY_PILATUS[line]
    other = "" if line.startswith("Pixel") else "# Pixel_size 172e-6 m x 173e-6 m\n"
    assert of_pilatus(f"{other}# {line}\n").metadata[name] == pytest.approx(value)


def test_what_is_in_an_unknown_unit_is_not_used():
    known = of_pilatus("# Detector_distance 2 furlong\n# Wavelength 1 A")
    assert known.metadata == {
        "incident_wavelength": 1.0,
        "warnings": [
            "detector_distance in the header is in furlong, which is not understood: not used"
        ],
    }


def test_a_detector_on_an_arm_has_no_geometry_by_its_header_alone():
    upright = of_pilatus(PILATUS + "\n# Detector_2theta 0.0000 deg.").metadata
    assert read_geometry(upright).distance_m == 0.2
    with pytest.raises(NoGeometryError, match="on an arm at two_theta = 15 degrees"):
        read_geometry(of_pilatus(PILATUS + "\n# Detector_2theta 15.0000 deg.").metadata)


def test_units_in_the_values_of_an_edf_header():
    said = {"WaveLength": "9.795e-11_m", "SampleDistance": "200 mm", "PSize_1": "75 um"}
    assert of_keys(said).metadata == {
        "incident_wavelength": pytest.approx(0.9795),
        "detector_distance": pytest.approx(0.2),
        "pixel_size_x": pytest.approx(75e-6),
    }
    # What is no EDF header has angstroms: those of ADSC, MAR and R-AXIS.
    assert of_keys({"WAVELENGTH": "0.9795"}, "angstrom").metadata == {"incident_wavelength": 0.9795}


def test_the_wavelength_of_an_adsc_header(tmp_path):
    data = frames(1)
    image = adscimage.AdscImage(data=data[0], header={"WAVELENGTH": "0.97950"})
    image.write(str(tmp_path / "a.img"))
    assert play(tmp_path / "a.img")[0].metadata["incident_wavelength"] == pytest.approx(0.9795)


# --- series of files -----------------------------------------------------------------------------

ONE_FRAME = {
    ".cbf": write_cbf,
    ".edf": lambda path, frame: write_edf(path, frame[None]),
    ".tif": lambda path, frame: tifffile.imwrite(path, frame),
    ".mccd": write_mccd,
    ".ge3": lambda path, frame: write_ge(path, frame[None]),
    ".npy": np.save,
}


def write_series(folder, suffix, data):
    folder.mkdir()
    for number, frame in reversed(list(enumerate(data))):
        ONE_FRAME[suffix](folder / f"scan2_{number}{suffix}", frame)
    (folder / "notes.txt").write_text("beam was down at noon")
    return folder


@pytest.mark.parametrize("suffix", list(ONE_FRAME))
def test_series_of_files_in_natural_order(tmp_path, suffix):
    data = frames(12)
    folder = write_series(tmp_path / "scan", suffix, data)
    assert_frames(play(f"{folder}/*{suffix}"), data)
    assert_frames(play(f"{folder}/scan2_?{suffix}"), data[:10])
    assert_frames(play(f"{folder}/*_3{suffix}"), data[3:4])
    if suffix != ".npy":
        events = play(folder)
        assert events[0].name == "scan"
        assert_frames(events, data)


@pytest.mark.parametrize(
    ("suffix", "write"), [(".ge3", write_ge), (".edf", write_edf), (".npy", np.save)]
)
def test_series_of_files_of_many_frames(tmp_path, suffix, write):
    data = frames(11)
    for number, start in enumerate((0, 4, 8)):
        write(tmp_path / f"a_{number}{suffix}", data[start : start + 4])
    events = play(f"{tmp_path}/a_*{suffix}")
    assert_frames(events, data)
    (tmp_path / f"a_1{suffix}").write_bytes(b"\0" * 10)
    events = play(f"{tmp_path}/a_*{suffix}")
    (lost,) = gaps(events)
    assert lost[0] == range(4, 8)
    assert f"a_1{suffix}" in lost[1]
    assert_frames(events, {n: data[n] for n in range(11) if n not in lost[0]})


@pytest.mark.parametrize("suffix", [".cbf", ".edf", ".tif", ".mccd", ".ge3"])
@pytest.mark.parametrize("bad", [0, 2, 6])
def test_bad_files_of_a_series_are_gaps(tmp_path, suffix, bad):
    data = frames(7, shape=(40, 50))
    folder = write_series(tmp_path / "scan", suffix, data)
    cut = folder / f"scan2_{bad}{suffix}"
    os.truncate(cut, cut.stat().st_size - 1000)
    (folder / f"scan2_4{suffix}").write_bytes(b"not a picture")
    ONE_FRAME[suffix](folder / f"scan2_5{suffix}", data[5, :30].copy())
    source = open_source(folder, SourceConfig())
    (folder / f"scan2_1{suffix}").unlink()
    events = source.read(100)
    source.close()
    lost = {e.frames.start: e.reason for e in events if isinstance(e, Gap)}
    assert sorted(lost) == sorted({1, 4, 5, bad})
    assert lost[1] == f"scan2_1{suffix} is missing"
    assert "shape" in lost[5]
    for number, reason in lost.items():
        assert f"scan2_{number}{suffix}" in reason
    assert_frames(events, {n: data[n] for n in range(7) if n not in lost})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[: data.index(b"X-Binary-Size-Second")], "truncated in its header"),
        (lambda data: data.replace(b"Fastest-Dimension: 31", b"Fastest-Dimension: 31000000"), "in"),
        (lambda data: gzip.compress(data + bytes(MAX_FRAME_BYTES >> 4)), "when it is unpacked"),
    ],
)
def test_cbf_that_declares_what_is_not_there(tmp_path, monkeypatch, damage, says):
    monkeypatch.setattr("streamer.sources.files.fabio.MAX_FRAME_BYTES", MAX_FRAME_BYTES >> 4)
    path = tmp_path / "a.cbf"
    write_cbf(path, frames(1)[0])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=says):
        play(path)


def test_cbf_with_a_wrong_checksum_is_a_gap(tmp_path):
    data = frames(3, "<i4")
    folder = write_series(tmp_path / "scan", ".cbf", data)
    coded = bytearray((folder / "scan2_1.cbf").read_bytes())
    coded[coded.index(b"\x0c\x1a\x04\xd5") + 40] ^= 1
    (folder / "scan2_1.cbf").write_bytes(coded)
    events = play(folder)
    ((lost, reason),) = gaps(events)
    assert lost == range(1, 2)
    assert "checksum" in reason
    assert_frames(events, {0: data[0], 2: data[2]})


def test_folder_of_several_kinds_is_no_series(tmp_path):
    write_cbf(tmp_path / "a_1.cbf", frames(1)[0])
    tifffile.imwrite(tmp_path / "a_1.tif", frames(1)[0])
    with pytest.raises(UserError, match=r"several kinds \(.cbf, TIFF\): choose one, such as") as e:
        open_source(tmp_path, SourceConfig())
    assert f"'{tmp_path}/*.cbf'" in str(e.value)


def test_panels_are_no_series(tmp_path):
    for panel in (2, 3):
        write_ge(tmp_path / f"a.ge{panel}", frames(2))
    with pytest.raises(UserError, match=r"several kinds \(.ge2, .ge3\)"):
        open_source(tmp_path, SourceConfig())


# --- truncated files -----------------------------------------------------------------------------


def stack_writers():
    return {
        "npy": (".npy", np.save),
        "tiff": (".tif", lambda path, data: tifffile.imwrite(path, data)),
        "tiff-pages": (".tif", write_pages),
        "tiff-zlib": (".tif", lambda path, data: tifffile.imwrite(path, data, compression="zlib")),
        "edf": (".edf", write_edf),
        "ge": (".ge3", write_ge),
    }


def write_pages(path, data):
    with tifffile.TiffWriter(path) as writer:
        for frame in data:
            writer.write(frame, contiguous=False)


@pytest.mark.parametrize("kind", list(stack_writers()))
@pytest.mark.parametrize("share", [0.47, 0.87, 0.99])  # not where an EDF frame ends
def test_truncated_stack_gives_what_is_there(tmp_path, kind, share):
    suffix, write = stack_writers()[kind]
    data = frames(10, shape=(64, 64))
    path = tmp_path / f"run{suffix}"
    write(path, data)
    os.truncate(path, int(path.stat().st_size * share))
    events = play(path)
    got = [e.frame for e in events if isinstance(e, Frame)]
    assert got == list(range(len(got))), "all before the first that is lost"
    # Some writers put the directory of a page, or of all, behind the pixels.
    assert len(got) >= (1 if kind == "tiff-zlib" else math.floor(10 * share) - 1)
    assert_frames(events, data[: len(got)])
    lost = gaps(events)
    if not (kind == "tiff" and share == 0.99 and not lost):
        assert lost
        assert lost[0][0].start == len(got)
        assert all("run" in reason for _, reason in lost)
        assert any(word in lost[0][1] for word in ("truncated", "cut off"))


@pytest.mark.parametrize("suffix", [".cbf", ".edf", ".tif", ".mccd", ".ge3", ".npy"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_nothing_is_left_of_one_truncated_frame(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    ONE_FRAME[suffix](path, frames(1, shape=(64, 64))[0])
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(UserError, match=r"truncated|damaged") as caught:
        open_source(path, SourceConfig())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fabio_is_asked_for_when_it_is_needed(tmp_path, monkeypatch):
    write_edf(tmp_path / "a.edf", frames(1))
    write_cbf(tmp_path / "a.cbf", frames(1)[0])
    for name in ("fabio", "fabio.cbfimage"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for name in ("a.edf", "a.cbf"):
        with pytest.raises(UserError, match=r"pip install 'braggstream\[formats\]'"):
            open_source(tmp_path / name, SourceConfig())


@pytest.mark.shared
def test_frame_of_a_pilatus_6m(tmp_path):
    path = SHARED / "data/thaumatin/thau_3_2_0004.cbf.bz2"
    if not path.exists():
        pytest.skip("the recorded frames are not beside the project")
    events = play(path)
    plain = tmp_path / "thau_3_2_0004.cbf"
    with bz2.open(path) as source, plain.open("wb") as target:
        shutil.copyfileobj(source, target)
    with fabio.open(str(plain)) as image:
        assert_frames(events, [image.data])
        assert_frames(play(plain), [image.data])
    assert events[0].frame_time_s == pytest.approx(0.02, rel=0.01)
    assert events[0].metadata["detector_description"].startswith("PILATUS3 6M")
    assert events[0].metadata["beam_center_x"] > 1000
