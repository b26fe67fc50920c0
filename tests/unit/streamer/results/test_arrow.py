from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

CODE = """
import sys
import pyarrow as pa
from streamer.results.arrow import leave_pandas_out
leave_pandas_out()
array = pa.array(["a"])
print("pandas" in sys.modules, array.to_pylist())
import pandas
leave_pandas_out()
print(pandas is sys.modules["pandas"])
"""


def test_arrow_makes_arrays_without_pandas_which_others_still_have():
    ran = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("False ['a']\nTrue\n", "")
