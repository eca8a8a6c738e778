"""A layout puts every tensor at its place, in its own steps."""

import numpy as np

from tests import models
from tflm_fg.fixed_point.layout import Layout, along_channels
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import weights_of


def marked(trainable="all"):
  return mark_file(models.conv_model(), trainable)


def test_a_value_a_channel_lies_along_the_axis_of_the_channels():
  for tensor in marked().mark.trainable:
    channels = tensor.shape[tensor.channel_axis]
    flat = along_channels(tensor, np.arange(channels))
    rows = np.moveaxis(flat.reshape(tensor.shape), tensor.channel_axis, 0)
    for channel, row in enumerate(rows):
      assert np.all(row == channel), tensor.name


def test_the_depthwise_kernel_has_its_channels_last():
  (kernel,) = (
    t for t in marked().mark.trainable if t.name == "depthwise/kernel"
  )
  assert kernel.channel_axis == 3


def test_masters_narrow_to_the_weights_that_they_were_made_of():
  found = marked()
  tensors = found.mark.trainable
  held = weights_of(found.data, tensors)
  layout = Layout(tensors)
  again = layout.weights(layout.params(held))
  assert all(np.array_equal(a, b) for a, b in zip(held, again, strict=True))
  assert any(np.any(w) for w, t in zip(held, tensors) if not t.has_master)


def test_what_is_scattered_is_gathered_again():
  found = marked()
  layout = Layout(found.mark.trainable)
  params = layout.params(weights_of(found.data, found.mark.trainable))
  again = layout.gather(layout.scatter(params))
  assert np.array_equal(params.kernels, again.kernels)
  assert np.array_equal(params.biases, again.biases)
