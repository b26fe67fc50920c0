"""Prints what ImageD11 reads in a column file, and where it finds peaks to be, as JSON.

The parameters of its detector are in a file of the same name.
"""

import json
import sys
from pathlib import Path

from ImageD11.columnfile import columnfile
from ImageD11.parameters import read_par_file
from ImageD11.transform import compute_tth_eta

peaks = columnfile(sys.argv[1])
detector = read_par_file(str(Path(sys.argv[1]).with_suffix(".par"))).get_parameters()
two_theta, eta = compute_tth_eta([peaks.sc, peaks.fc], **detector)
columns = {title: peaks.getcolumn(title).tolist() for title in peaks.titles}
print(json.dumps(columns | {"its tth": two_theta.tolist(), "its eta": eta.tolist()}))
