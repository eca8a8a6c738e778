"""Training begins only where a write to a weight changes the output."""

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import Patchable, weights_of

X, Y = models.separable(40)


@pytest.mark.parametrize("method", ["sign-m-spsa", "closed-form"])
def test_adapting_is_refused_where_the_engine_holds_a_copy(method):
  settings = options(method=method, steps=1)
  refused(
    lambda: tflm_fg.adapt(
      models.dense_model(),
      X,
      Y,
      trainable="head",
      runtime="litert-xnnpack",
      strategy="in-place",
      **settings,
    ),
    "does not see a write to 'head/",
    "--strategy=rebuild",
  )


def test_a_tensor_that_reaches_no_output_is_named():
  marked = mark_file(models.dense_model(), "all")
  session = open_session("litert", whole(marked.data, marked.mark))
  session.run = lambda inputs: (np.zeros(3),)
  refused(
    lambda: write_check.require_visible(session, marked.mark.trainable),
    "'hidden/kernel'",
    "reaches the output",
  )


@pytest.mark.parametrize("steps", [-300, 300])
def test_a_write_is_seen_where_the_one_output_is_at_an_end_of_its_range(steps):
  """A detector that says a sure no: its logit cannot fall further."""
  marked = mark_file(models.regression_model(tail="logistic"), "head")
  kernel, bias = marked.mark.trainable
  weights = weights_of(marked.file, (kernel, bias))
  sure = [0 * weights[0], weights[1] + steps * bias.output_step[0]]
  patch = Patchable(marked.file, [kernel.index, bias.index])
  file = patch.written(
    [w.astype(t.dtype) for w, t in zip(sure, (kernel, bias))]
  )
  session = open_session("litert", whole(file, marked.mark))
  x = models.int8_samples((8,), 4)
  assert len(np.unique(session.run((x,))[0])) == 1
  verdicts = write_check.check_visibility(session, (kernel, bias), (x,))
  assert verdicts[1].seen
  assert np.array_equal(session.params()[1], sure[1])  # left as it was
