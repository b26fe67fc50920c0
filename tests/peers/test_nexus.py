"""The NeXus file that a run is exported as, beside the definitions of NeXus."""

import re
import subprocess
from pathlib import Path

import pytest

from streamer.config import Config
from streamer.export.formats import export_run
from tests.unit.runs import make_run

CHECKER = Path(__file__).parent / "readers" / "nexus_check.py"
META = {"sample": "NMC811", "user": "Ada, Max", "proposal": "2026-1", "comment": "x", "crate": 7}


@pytest.mark.parametrize("known", [True, False])
def test_nothing_in_it_is_against_the_definitions(tmp_path, sender_python, known):
    run = make_run(tmp_path / "today", geometry=known, cell=known, timed=known)
    (run.path / "config.yaml").write_text(Config.model_validate({"meta": META}).to_yaml())
    words = [sender_python("nexus"), CHECKER, "--warning", export_run(run.path, "nexus")]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    found = dict(re.findall(r"Total number of (\w+): (\d+)", done.stdout))
    assert found == {"warnings": "0", "errors": "0"}, done.stdout
