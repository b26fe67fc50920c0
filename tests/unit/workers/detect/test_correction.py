from __future__ import annotations

import numpy as np

from workers.detect.correction import Correction


def test_series_with_the_same_mask_have_it_once():
    mask = np.zeros((4, 5), np.bool_)
    mask[1, 2] = True
    first, second = (Correction(mask.copy()) for _ in range(2))
    assert second.sharing(["a series without one", Correction(), first]).bad is first.bad
    other = Correction(~mask)
    assert other.sharing([first]) is other
    assert Correction().sharing([first]).bad is None
