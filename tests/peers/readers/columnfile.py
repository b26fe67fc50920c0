"""Prints what ImageD11 reads in a column file, and where it finds peaks to be, as JSON.

Words: the file, and as JSON the parameters of its detector.
"""

import json
import sys

from ImageD11.columnfile import columnfile
from ImageD11.transform import compute_tth_eta

peaks = columnfile(sys.argv[1])
two_theta, eta = compute_tth_eta([peaks.sc, peaks.fc], **json.loads(sys.argv[2]))
columns = {title: peaks.getcolumn(title).tolist() for title in peaks.titles}
print(json.dumps(columns | {"its tth": two_theta.tolist(), "its eta": eta.tolist()}))
