"""Backpropagation is fair, and pictures show what they say."""

import csv
import dataclasses

import numpy as np
import pytest

from apps.compare import jobs
from apps.compare.analyses import cosines, loss_surface
from apps.compare.data.registry import UserData, load
from apps.compare.methods import head_descent, integer, run, scoring
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.placement.phase_record import masters_of
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import tensor_spec


@pytest.mark.tensorflow
def test_keras_trains_the_same_tensors_from_the_same_start(cell, user_data):
  from apps.compare.methods import backprop

  backpropagation = dataclasses.replace(
    cell, method="backprop", precision="fp32"
  )
  ours = run.run(dataclasses.replace(cell, method="zero-shot"), user_data)
  for trainable in ("head", "prompt", "inner-bias", "all"):
    found = run.run(
      dataclasses.replace(backpropagation, trainable=trainable), user_data
    )
    assert abs(found.accuracy_before - ours.accuracy_before) < 0.1
    assert abs(found.loss_before - ours.loss_before) < 0.1
    assert found.loss_after < found.loss_before
    assert found.forward_passes == 120
  rates = backprop.cosine_rates(2.0, 10)
  assert rates[[0, 5]] == pytest.approx([2.0, 1.0])


@pytest.mark.tensorflow
def test_compiled_steps_are_those_of_keras_adam_with_cosine_decay():
  import keras
  import tensorflow as tf

  from apps.compare.methods import backprop

  start = np.array([1.0, -2.0], np.float32)
  weights = tf.Variable(start)
  data = np.array([[1.0, 0.5], [0.2, -1.0]], np.float32)
  y = np.array([0, 1])
  net = backprop.Net(
    backprop.Adam(lambda x: x * weights, [weights], data.shape[1:]),
    [start],
    data,
    y,
    data,
    y,
  )
  net.trained([np.array([1, 0])] * 3, 0.7)  # what the next run must not see
  (mine,) = net.trained([np.array([0, 1])] * 5, 0.1)
  theirs = tf.Variable(start)
  schedule = keras.optimizers.schedules.CosineDecay(0.1, 5)
  optimizer = keras.optimizers.Adam(schedule)
  for _ in range(5):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(y, data * theirs)
      )
    optimizer.apply([tape.gradient(loss, theirs)], [theirs])
  np.testing.assert_allclose(mine.values[0], theirs.numpy(), rtol=1e-5)


@pytest.mark.tensorflow
def test_a_surface_holds_both_trajectories(cell, user_data):
  job = loss_surface.Surface(
    domain=cell.domain, trainable="all", seed=0, passes=40, batch=16, side=4
  )
  made = jobs.do(job, user_data)
  png, listed = job.files
  assert made[png].startswith(b"\x89PNG")
  losses = np.loadtxt(made[listed].decode().splitlines()[1:], delimiter=",")
  assert losses.shape == (16, 3) and np.isfinite(losses).all()
  assert losses[:, 2].std() > 0


def test_the_plane_is_of_the_main_directions():
  random = np.random.default_rng(0)
  axes = np.linalg.qr(random.normal(0, 1, (6, 2)))[0].T
  inside = random.normal(0, 1, (9, 2)) @ axes
  start = random.normal(0, 1, 6)
  plane = loss_surface.plane_of([start + np.vstack([np.zeros(6), inside])])
  assert plane.share == pytest.approx(1.0)
  seen = plane.seen(start + inside)
  back = np.stack([plane.at(*point) for point in seen])
  np.testing.assert_allclose(back, start + inside, atol=1e-9)


def test_masters_survive_the_way_into_the_plane_and_back(cell, user_data):
  task = load(cell.domain, 0, user_data)
  marked = integer.marked_of(cell, task)
  layout = Layout(marked.mark.trainable)
  start = layout.gather(masters_of(marked.data, marked.mark))
  back = loss_surface.params_at(layout, loss_surface.numbers_of(layout, start))
  for old, new in zip(start, back):
    assert np.array_equal(old, new) and old.dtype == new.dtype


@pytest.fixture(scope="module")
def cosine_rows():
  """Every row of a table of cosines, and the table."""
  job = cosines.Cosines(
    domain="digits-blur-5-20shot", counts=(1, 4, 16), steps=30
  )
  content = jobs.do(job, UserData())["cosines.csv"]
  rows = list(csv.DictReader(content.decode().splitlines()))
  return rows, cosines.markdown(content)


def test_every_cosine_is_near_theory(cosine_rows):
  rows, text = cosine_rows
  known = [row for row in rows if row["theory"] != "nan"]
  assert len(known) == len(rows) - 3  # no formula is known for guided signs
  for row in known:
    ratio = float(row["cosine"]) / float(row["theory"])
    assert 0.75 < ratio < 1.3, row
  assert text.count("\n| ") == len(rows)


def test_the_projection_is_better_than_the_mean_where_directions_share_much(
  cosine_rows,
):
  """And as good where they are orthogonal."""
  found = {
    (row["method"], row["directions"], int(row["m"])): row
    for row in cosine_rows[0]
  }
  for m in (4, 16):
    mean, best = (
      found[method, "guided", m] for method in ("spsa", "multi-tangent")
    )
    low = float(best["cosine"]) - float(best["half"])
    assert low > float(mean["cosine"]) + float(mean["half"])
    mean, best = (
      float(found[method, "rademacher", m]["cosine"])
      for method in ("spsa", "multi-tangent")
    )
    assert best == pytest.approx(mean, rel=0.05)


def test_the_true_gradient_is_that_of_small_differences(cell, user_data):
  task = load(cell.domain, 0, user_data)
  marked = mark_file(task.model, "head")
  graph = SplitModel(marked.data, marked.mark, scoring.RUNTIME_OPTIONS)
  x, y = task.train
  true = cosines.true_gradient(graph, marked, x, np.asarray(y))
  spec = tensor_spec(marked.data, marked.mark.head_input)
  features = head_descent.features_of(graph, (x, y), spec)
  weights = head_descent.head_start(marked)

  def loss(w):
    logits = features @ w
    logs = np.log(np.exp(logits).sum(axis=1))
    return (logs - logits[np.arange(len(y)), y]).mean()

  kernel = marked.mark.trainable[0]
  away = np.zeros_like(weights)
  away[1, 2] = 1e-4  # input 1 of output 2
  slope = (loss(weights + away) - loss(weights - away)) / 2e-4
  place = 2 * kernel.shape[1] + 1
  scale = np.broadcast_to(kernel.scales, kernel.shape[0])[2]
  assert true[place] == pytest.approx(slope * scale, rel=1e-5)
