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
