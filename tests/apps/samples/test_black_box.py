"""The worked examples of a black-box loss compute what they say, and learn."""

import importlib.util
import pathlib

import numpy as np
import pytest

import tflm_fg

ROOT = pathlib.Path(__file__).parents[3]


def loaded(name):
  """A sample's module, which is in no package."""
  path = ROOT / "apps/samples/black_box" / f"{name}.py"
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope="module")
def solver():
  return loaded("solver")


@pytest.fixture(scope="module")
def wall():
  return loaded("wall_model")


def test_the_formula_is_half_the_best_alpha_of_a_rod_without_loss(
  solver, monkeypatch
):
  monkeypatch.setattr(solver, "MOST", 900)
  solver.iterations.cache_clear()
  rod = np.array([[1.3, 0.0, 40.0]])
  best = float(solver.formula(rod)[0, 0]) + 1
  over, right, half = (
    solver.iterations(tuple(rod[0]), best + by) for by in (0.3, -0.05, -1)
  )
  solver.iterations.cache_clear()
  assert right < half < over == 900


def test_a_solve_that_diverges_counts_as_failed(solver):
  assert solver.iterations((1.0, 100.0, 300.0), 0.0) == solver.MOST


def test_the_solver_is_asked_once_for_each_alpha_of_a_rod(solver):
  solver.iterations.cache_clear()
  some = np.array([[1.0, 10.0, 50.0], [2.0, 5.0, 30.0]])
  outputs = np.full((2, 1), -9.0)
  first = solver.counts(outputs, some)
  again = solver.counts(outputs, some)
  assert (first == again).all() and first.shape == (2,)
  assert solver.iterations.cache_info().misses == 2
  np.testing.assert_allclose(solver.log_counts(outputs, some), np.log2(first))


def test_rods_are_within_what_the_network_is_told_of(solver):
  found = solver.rods(200, np.random.default_rng(0))
  assert found.shape == (200, 3)
  assert (found.min(axis=0) >= [0.5, 1, 10]).all()
  assert (found.max(axis=0) <= [2, 100, 300]).all()
  assert np.abs(solver.features(found)).max() < 2.5


def test_reichardts_law_is_linear_at_the_wall_and_a_logarithm_far_away(wall):
  y_plus = np.array([0.1, 0.5])
  np.testing.assert_allclose(wall.reichardt(y_plus), y_plus, rtol=0.05)
  far = np.array([1e4, 1e5])
  steps = np.diff(wall.reichardt(far))
  np.testing.assert_allclose(steps, np.log(10) / wall.KAPPA, rtol=1e-3)
  # The constant of the logarithmic law is about 5.
  assert wall.reichardt(far)[0] - np.log(1e4) / wall.KAPPA == pytest.approx(
    5.6, abs=0.5
  )


def test_a_law_that_is_solved_gives_back_the_friction_velocity(wall):
  u_tau = np.array([0.1, 0.5, 3.0])
  u = wall.velocity(u_tau, wall.LOW, 5e-4)
  found = wall.solved(u, (wall.LOW,), 5e-4)
  np.testing.assert_allclose(found, u_tau, rtol=1e-4)


def test_the_loss_of_the_second_probe_does_not_know_the_roughness(wall):
  u_tau = np.array([0.2, 1.0, 2.5])
  for rough in (0.0, 5e-4):
    low, high = (wall.velocity(u_tau, y, rough) for y in (wall.LOW, wall.HIGH))
    probes = np.stack([low, high], axis=1)
    outputs = np.log(low / u_tau)[:, None]
    right = wall.second_probe(outputs, probes)
    wrong = wall.second_probe(outputs + 0.2, probes)
    assert right.max() < 0.01 < 1 < wrong.min()


@pytest.mark.tensorflow
def test_a_network_learns_a_solvers_damping_from_its_iterations(
  solver, monkeypatch
):
  monkeypatch.setattr(solver, "TEST", 30)
  monkeypatch.setattr(solver, "ALPHAS", solver.ALPHAS[::2])
  method = tflm_fg.methods.SPSA(num_directions=4, steps=300, seed=5)
  before, after, single, best = solver.run(5, trainable="all", method=method)
  assert after < 0.8 * min(before, single)
  assert best < single


@pytest.mark.tensorflow
def test_a_wall_model_learns_a_rough_wall_with_and_without_labels(wall):
  before, labelled, probed, smooth, between, known = wall.run(0)
  assert before > 15 and smooth > 15
  assert labelled < 2.5
  assert probed < between < before
  assert known < labelled
