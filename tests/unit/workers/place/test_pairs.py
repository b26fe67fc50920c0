from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.place.pairs import close_pairs


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 30))
def test_all_close_pairs_are_found(seed, gate):
    rng = np.random.default_rng(seed)
    points, others = (rng.uniform(0, 60, (rng.integers(0, 20), 2)) for _ in range(2))
    point, other, distance = close_pairs(points, others, gate)
    far = np.linalg.norm(points[:, None] - others[None], axis=2)
    near = np.argwhere(far <= gate).tolist()
    assert sorted(np.stack([point, other], axis=1).tolist()) == near
    np.testing.assert_allclose(distance, far[point, other])
