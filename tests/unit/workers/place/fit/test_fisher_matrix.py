"""Equations with the Fisher matrix, beside those of numpy."""

from __future__ import annotations

import numpy as np
import pytest

from workers.place.fit.fisher_matrix import extend, factorise, invert, solve
from workers.place.fit.likelihood import LANES, gather, score, workspace

P = 22


@pytest.fixture
def work():
    """Memory with a matrix of which only the upper triangle is known, and one fixed parameter."""
    rng = np.random.default_rng(4)
    roots = rng.normal(size=(P, 3 * P)) * 10.0 ** rng.uniform(-3.0, 3.0, (P, 1))
    memory = workspace(11)
    memory.fisher[:] = np.nan
    for i in range(P):
        memory.fisher[i, i:P] = (roots @ roots.T)[i, i:]
    memory.gradient[:P] = rng.normal(size=P)
    memory.fixed[2] = 1
    return memory


def equations(memory, damping=0.0):
    upper = np.triu(memory.fisher[:P, :P])
    matrix = upper + np.triu(upper, 1).T + damping * np.diag(np.diag(upper))
    matrix[2, :] = matrix[:, 2] = 0.0
    matrix[2, 2] = 1.0
    gradient = memory.gradient[:P].copy()
    gradient[2] = 0.0
    return matrix, gradient


@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_a_step_solves_the_equations(work, damping):
    assert factorise(work, P, damping)
    gain = solve(work, P)
    matrix, gradient = equations(work, damping)
    step = np.linalg.solve(matrix, gradient)
    np.testing.assert_allclose(work.step[:P], step, rtol=1e-8)
    assert gain == pytest.approx(gradient @ step)


def test_the_whole_inverse_is_written(work):
    assert invert(work, P)
    matrix, _ = equations(work)
    scale = np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    np.testing.assert_allclose(
        scale * work.inverse[:P, :P], np.linalg.inv(matrix / scale), atol=1e-9
    )


def test_what_is_not_positive_definite_is_refused(work):
    work.fisher[4, 4] = 0.0
    assert not factorise(work, P, 0.0)
    assert not invert(work, P)


@pytest.mark.parametrize("size", [11, 15])
def test_scores_of_more_parameters_are_those_of_all_at_once(size):
    rng = np.random.default_rng(5)
    work = workspace(size)
    m = gather(
        work,
        rng.poisson(9.0, (size, size)).astype(np.float32),
        rng.random((size, size)) < 0.9,
        True,
    )
    for array in (work.lanes.expected, work.lanes.slopes):
        array[:] = rng.uniform(1.0, 2.0, array.shape)
    score(work, m, 0, 6, 1.0, 0.0)
    statistic, place, sigma = extend(work, m, 6, 2, 1.0, 0.0)
    slopes = work.lanes.slopes.reshape(len(work.fixed), -1)[:8, :m]
    counts, mu = (array.reshape(-1)[:m] for array in (work.lanes.counts, work.lanes.expected))
    matrix, gradient = slopes / mu @ slopes.T, slopes / mu @ (counts - mu)
    inverse = np.linalg.inv(matrix)
    step, less = inverse @ gradient, np.linalg.solve(matrix[:6, :6], gradient[:6])
    assert statistic == pytest.approx(gradient @ step - gradient[:6] @ less)
    assert place == pytest.approx(step[7])
    assert sigma == pytest.approx(np.sqrt(inverse[7, 7]))


def test_memory_is_of_one_kind_for_patches_of_usual_sizes():
    assert workspace(7).dtype == workspace(15).dtype
    assert workspace(15).lanes.counts.size >= 15 * 15 > LANES
