from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import make_reference as reference
import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict

from streamer.config import Config, load_config
from streamer.results.schema import CELL, FRAMES, PEAKS, TRACKS
from tests.conftest import ROOT
from workers.detect.base import FinderPlugin
from workers.detect.choice import FINDERS
from workers.place.gauges import GpuGauges
from workers.place.methods import METHODS

PAGES = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", reference.PAGES)
def test_page_is_what_the_code_says(name: str) -> None:
    text = (PAGES / name).read_text(encoding="utf-8")
    assert text == reference.PAGES[name](), "run: make docs"


def keys_of(section: BaseModel, prefix: str = "") -> list[str]:
    keys = []
    for name, value in section:
        is_section = isinstance(value, BaseModel)
        keys += keys_of(value, f"{prefix}{name}.") if is_section else [prefix + name]
    return keys


def test_every_key_has_its_row_with_an_explanation() -> None:
    rows = dict(
        re.findall(
            r"^\| `([\w.]+)` \| [^|]+ \| [^|]* \| (.{10,}) \|$",
            reference.configuration_page(),
            re.MULTILINE,
        )
    )
    keys = keys_of(Config())
    for plugins in (FINDERS, METHODS):
        for name, plugin in plugins.own.items():
            keys += [f"{plugins.key}.{name}.{key}" for key in plugin.model_fields]
    assert sorted(rows) == sorted(keys)


def test_defaults_are_written_as_they_are_given() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| [^|]+ \| `([^`|]+)` \|", reference.configuration_page(), re.MULTILINE
    )
    assert len(rows) > 40
    given = load_config(None, [f"{key}={default}" for key, default in rows])
    taken = METHODS.configure("moments", given.positions.methods)
    assert taken == METHODS.configure("moments", {})
    given.positions.methods.clear()
    assert given == Config()


def test_key_without_words_is_refused() -> None:
    class Section(BaseModel):
        model_config = ConfigDict(use_attribute_docstrings=True)
        rot1: float = 0.0
        """Both rotations."""
        rot2: float = 0.0
        other: float = 0.0

    said = reference.explanations({key: Section.model_fields[key] for key in ("rot1", "rot2")})
    assert said == {"rot1": "Both rotations.", "rot2": "Both rotations."}
    with pytest.raises(ValueError, match="other has no explanation"):
        reference.explanations(Section.model_fields)


def test_metrics_with_labels_name_them() -> None:
    page = reference.metrics_page()
    for name, label in (
        ("frames_total", "state"),
        ("stage_duration_seconds", "stage"),
        ("worker_outstanding_frames", "worker"),
        ("track_drift_pixels", "track"),
        ("source_incidents_total", "reason"),
    ):
        assert re.search(rf"^\| `braggstream_{name}` \| \w+ \| `{label}` \|", page, re.MULTILINE)
    assert "braggstream_cell_voltage_volts" in page


def test_metrics_of_cuda_are_those_that_gpu_workers_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 1,
        memory_reserved=lambda index: 1,
        mem_get_info=lambda index: (1, 2),
        utilization=lambda index: 50,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    served = GpuGauges(CollectorRegistry()).collect()
    said = {f"braggstream_gpu_{name}": what for name, what in reference.ON_CUDA.items()}
    for family in served:
        assert said.pop(family.name).startswith(family.documentation)
    assert said == {}


def test_tables_explain_every_column() -> None:
    page = reference.tables_page()
    for schema in (FRAMES, PEAKS, TRACKS, CELL):
        for field in schema:
            assert re.search(rf"^\| `{field.name}` \| {field.type} \|", page, re.MULTILINE)
    assert "| `row_sigma` | double | px | standard deviation of row |" in page


def test_pages_are_written_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "reference"
    assert reference.main([str(folder)]) == 1
    assert reference.main(["--write", str(folder)]) == 0
    capsys.readouterr()
    assert reference.main([str(folder)]) == 0
    assert capsys.readouterr().out == ""
    page = folder / "metrics.md"
    page.write_text(page.read_text().replace("braggstream_peaks_total", "peaks"))
    assert reference.main([str(folder)]) == 1
    assert "+| `braggstream_peaks_total`" in capsys.readouterr().out


def _anchors(page: Path) -> set[str]:
    """Headings as a link names them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_of_the_documentation_lead_somewhere() -> None:
    root = PAGES.parents[1]
    found = 0
    for page in [root / "README.md", *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), f"{page}: {target}"
            assert not anchor or anchor in _anchors(there), f"{page}: {target}"
            found += 1
    assert found > 20


def test_keys_that_the_documentation_names_exist() -> None:
    root = PAGES.parents[1]
    keys = set(re.findall(r"^\| `([\w.]+)` \|", reference.configuration_page(), re.MULTILINE))
    sections = "|".join(sorted({key.partition(".")[0] for key in keys if "." in key}))
    for page in [root / "README.md", *(root / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        named = re.findall(rf"--set '?((?:{sections})\.\w+)=", text)
        named += re.findall(rf"`((?:{sections})\.\w+)`", text)
        wrong = [key for key in named if key not in keys and not re.search("(json|parquet)$", key)]
        assert not wrong, page


def test_parameters_of_a_plugin_of_ours_have_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sieve(FinderPlugin):
        mesh: float = 0.5
        """Width of its holes."""

    monkeypatch.setattr(FINDERS, "own", {"topology": FINDERS.own["topology"], "sieve": Sieve})
    page = reference.configuration_page()
    assert "### detect.finders.sieve\n" in page
    assert "| `detect.finders.sieve.mesh` | number | `0.5` | Width of its holes. |" in page
    assert "detect.finders.topology" not in page
    assert "| `detect.finder` | `topology`, `sieve`, another package's |" in page
