"""A prompt that stays on its device, and a head that the fleet shares."""

from __future__ import annotations

import numpy as np
import pytest

from tests import models
from tests.federated.fleets import MODEL, X, fleet, run
from tflm_fg import federated, methods
from tflm_fg.types import TflmFgError


def test_heads_are_shared_and_prompts_are_not():
  server, clients = fleet(
    "closed-form", (48, 48), personal="prompt",
    method=methods.ClosedForm(steps=3),
  )  # fmt: skip
  plan = server.plan
  own = [t for t in server.marked.mark.trainable if t.role == "offset"]
  assert own and not {t.index for t in own} & {
    t.index for t in server.layout.tensors
  }
  prompt = {own[0].index: np.full(own[0].size, 512, np.int16)}
  mine = federated.Client(
    MODEL, plan, clients[0].x, clients[0].y, client="client-0", personal=prompt
  )
  assert mine.contribute() != clients[0].contribute()
  run(server, [mine, clients[1]])
  assert mine.masters_sha256 == clients[1].masters_sha256
  assert (mine.masters[own[0].index] == 512).all()
  assert mine.file().data != clients[1].file().data
  assert clients[1].file().data == server.file().data


def test_a_prompt_is_found_without_labels_where_it_helps():
  x, y = models.separable(200)
  base = run(*fleet("closed-form", (200,), x=x, y=y))
  model = base.marked.mark and federated.apply(MODEL, base.plan, base.steps)
  plan = federated.plan_for(model, "closed-form", personal="prompt")
  shift = np.random.default_rng(1).normal(0, 1.2, 8).astype(np.float32)
  found = federated.personal_prompt(model, plan, x + shift)
  assert list(found)
  before, after = (
    federated.Client(model, plan, x + shift, y, client="a", personal=own)
    .score()
    .accuracy
    for own in ({}, found)
  )
  assert after > before


def test_a_plan_without_prompts_is_told():
  plan = federated.plan_for(MODEL, "closed-form")
  with pytest.raises(TflmFgError, match="make it with personal='prompt'"):
    federated.personal_prompt(MODEL, plan, X)
