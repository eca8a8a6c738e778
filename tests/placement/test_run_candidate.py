"""The candidate that was chosen is trained again, whatever grew meanwhile."""

from __future__ import annotations

import pytest

import tflm_fg
from tests import models
from tests.options import options
from tflm_fg import journal
from tflm_fg.placement import fold_search, found, phase_record
from tflm_fg.tflite.select_trainable import mark_file

WANTED = "first-bias, wide-head"


def unbiased() -> bytes:
  """Three dense layers; the converter dropped the first one's bias."""
  net = models.Network(3)
  x = net.activation("x", (1, 8), 4.0)
  flow = net.dense(x, 16, "first", relu=True, bias=False)
  flow = net.dense(flow, 12, "second", relu=True)
  flow = net.dense(flow, 4, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(flow).index])


@pytest.fixture(scope="module")
def adapted():
  """As if the samples had shown that this candidate is the best."""

  def wanted(candidates):
    (one,) = (c for c in candidates if c.title == WANTED)
    return one

  x, y = models.separable(samples=120, seed=2)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(fold_search, "INPUT_STAGES", ())
    patch.setattr(found, "best_candidate", wanted)
    return tflm_fg.adapt(unbiased(), x + 1, y, **options(seed=5))


def test_a_bias_put_back_trains_in_a_file_that_grew_further(adapted):
  first, head = adapted.report["phases"]
  assert first["trainable"] == ["first/kernel/bias"]
  assert head["trainable"] == ["head/kernel", "head/bias"]
  assert first["kept_step"] > 0


def test_its_journal_draws_as_the_smaller_file_did(adapted):
  text = adapted.journal.to_bytes()
  replayed = tflm_fg.replay(journal.parse(text), unbiased())
  assert replayed == adapted.marked_model
  (first, _) = adapted.journal.records
  assert first.drawn_as != first.phase.tensors


def test_tensors_are_matched_by_what_they_are():
  small = mark_file(unbiased(), "first-bias").mark.trainable
  grown = mark_file(unbiased(), "first-bias,wide-head").mark.trainable
  (index,) = phase_record.matched(small, grown).values()
  (bias,) = (t for t in grown if t.index == index)
  assert (bias.name, bias.role) == ("first/kernel/bias", "bias")
  assert index != small[0].index
