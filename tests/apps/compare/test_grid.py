"""A grid has every cell that exists, once; a CSV is all the state."""

import dataclasses

import pytest

from apps.compare import presets
from apps.compare.analyses import cosines
from apps.compare.cell_settings import fields_of, require_known, steps_of
from apps.compare.grid import VARIANTS, Cell, Grid, cells_of, chosen
from apps.compare.results import intervals, rows
from apps.compare.results.rows import Measured, read_csv, to_csv
from tests import refusals

CELL = Cell(
  domain="d",
  seed=1,
  trainable="head",
  method="sign-m-spsa",
  passes=100,
  batch=8,
)
ROW = Measured(
  accuracy_before=0.25,
  accuracy_after=1 / 3,
  forward_passes=100,
  chosen="rate 1, epsilon 4",
  curve=((0, 0.25), (100, 1 / 3)),
)


def grid(**axes):
  given = {
    "methods": ("sign-m-spsa",),
    "trainable": ("head",),
    "domains": ("d",),
    "seeds": (0,),
  }
  return Grid(**{**given, **axes})


def titles(*grids):
  return [cell.title for cell in cells_of(grids)]


def test_a_grid_is_the_product_of_its_axes():
  found = cells_of([grid(trainable=("head", "all"), seeds=(0, 1, 2))])
  assert len(found) == 6
  assert {(c.trainable, c.seed) for c in found} == {
    (t, s) for t in ("head", "all") for s in (0, 1, 2)
  }


def test_what_several_grids_share_is_run_once():
  both = [grid(seeds=(0, 1)), grid(seeds=(1, 2))]
  assert [c.seed for c in cells_of(both)] == [0, 1, 2]


def test_zero_shot_and_auto_are_one_cell_whatever_trains():
  found = titles(
    grid(
      methods=("zero-shot", "auto"),
      trainable=("head", "all"),
      variants=("plain", "m=3"),
      precisions=("fp32", "16w8a"),
    )
  )
  assert found == ["d 0 nothing zero-shot 16w8a", "d 0 auto auto 16w8a"]


def test_backpropagation_is_float_and_has_no_variants():
  axes = {"variants": ("plain", "m=3"), "precisions": ("16w8a", "8w8a")}
  assert titles(grid(methods=("backprop",), **axes)) == [
    "d 0 head backprop fp32"
  ]


def test_exact_methods_are_for_heads_and_have_one_precision():
  found = titles(
    grid(
      methods=("closed-form", "node"),
      trainable=("head", "all", "prompt"),
      precisions=("16w8a", "8w8a"),
    )
  )
  assert found == ["d 0 head closed-form 16w8a", "d 0 head node 16w8a"]


def test_statistic_matching_is_for_biases_before_the_head():
  found = titles(
    grid(
      methods=("statistics",),
      trainable=("head", "first-bias", "inner-bias", "all"),
      precisions=("16w8a", "8w8a"),
      variants=("plain", "m=3"),
    )
  )
  assert found == [
    "d 0 first-bias statistics 16w8a",
    "d 0 inner-bias statistics 16w8a",
  ]


def test_directions_for_samples_train_what_flows_in_and_alternation_all():
  axes = grid(
    methods=("per-sample", "alternation"),
    trainable=("head", "prompt", "bias", "all"),
    variants=("plain", "m=3"),
    passes=40,
  )
  cells = list(axes.cells())
  assert [(c.trainable, c.method) for c in cells] == [
    ("prompt", "per-sample"),
    ("bias", "per-sample"),
    ("all", "alternation"),
  ]
  assert fields_of(cells[0])["steps"] == 20
  assert fields_of(cells[2])["method"] == "auto"
  assert "steps" not in fields_of(cells[2])


def test_kernels_of_16_bits_are_where_kernels_train():
  found = titles(
    grid(
      trainable=("head", "wide-head", "prompt", "bias", "all"),
      precisions=("weights-int16",),
    )
  )
  assert found == [
    "d 0 head sign-m-spsa weights-int16",
    "d 0 all sign-m-spsa weights-int16",
  ]


def test_floats_have_what_needs_no_integers():
  found = cells_of(
    [
      grid(
        methods=("sign-m-spsa", "spsa", "multi-tangent"),
        trainable=("head", "wide-head"),
        variants=("plain", "m=3", "stochastic", "guided"),
        precisions=("fp32",),
      )
    ]
  )
  assert {(c.method, c.trainable, c.variant) for c in found} == {
    (method, "head", variant)
    for method in ("sign-m-spsa", "spsa")
    for variant in ("plain", "m=3")
  }


def test_settings_that_do_not_fit_are_refused_before_anything_runs(monkeypatch):
  monkeypatch.setitem(VARIANTS, "odd", {"guidance": 0.5})
  cell = dataclasses.replace(CELL, variant="odd", precision="fp32")
  refusals.refused(lambda: require_known([cell]), "needs momentum")


def test_passes_may_depend_on_what_trains():
  found = cells_of(
    [grid(trainable=("head", "all"), passes=10, passes_of={"all": 30})]
  )
  assert {c.trainable: c.passes for c in found} == {"head": 10, "all": 30}


def test_a_users_axes_take_the_place_of_a_presets():
  own = chosen(grid(passes_of={"head": 9}), {"seeds": (7,), "passes": 50})
  assert [(c.seed, c.passes) for c in own.cells()] == [(7, 50)]


@pytest.mark.parametrize(
  "axis", ["methods", "precisions", "variants", "trainable"]
)
def test_an_unknown_value_of_an_axis_is_refused(axis):
  refusals.refused(
    lambda: chosen(grid(), {axis: ("magic",)}), f"--{axis}", "choose of"
  )


@pytest.mark.parametrize(
  ("method", "directions", "steps"),
  [
    ("sign-m-spsa", 1, 50),
    ("sign-m-spsa", 3, 16),
    ("one-sided", 8, 11),
    ("sharpness-aware", 1, 25),
    ("node", 1, 33),
  ],
)
def test_steps_fill_the_passes_and_no_more(method, directions, steps):
  assert steps_of(method, directions, 100) == steps


def test_an_unknown_setting_is_refused_before_anything_runs(monkeypatch):
  monkeypatch.setitem(VARIANTS, "odd", {"oddness": 3})
  cell = dataclasses.replace(CELL, variant="odd")
  refusals.refused(lambda: require_known([cell]), "no setting 'oddness'", "odd")


def test_every_preset_can_be_run_by_this_tflm_fg():
  for preset in presets.PRESETS.values():
    require_known(cells_of(preset.grids))
    for analysis in preset.analyses:
      if isinstance(analysis, cosines.Cosines):
        assert cosines.kinds(analysis, batch=8)


def test_what_is_judged_is_on_enough_domains_and_seeds():
  for name in ("precision", "enhancements"):
    cells = cells_of(presets.PRESETS[name].grids)
    for variant in {c.variant for c in cells}:
      own = [c for c in cells if c.variant == variant]
      assert len({c.domain for c in own}) >= intervals.LEAST_DOMAINS
      assert len({c.seed for c in own}) >= 2
  tried = {c.variant for c in cells_of(presets.PRESETS["enhancements"].grids)}
  # rms is measured of per-sample directions (docs/inner_layers.md).
  assert tried == set(VARIANTS) - {"constant", "rms"}


def test_the_full_preset_has_all_that_the_others_show():
  """But those that measure time, beside which nothing else may run."""
  cells, analyses = set(), set()
  for name, preset in presets.PRESETS.items():
    if name not in ("full", "smoke", "accuracy", "timing", "growth"):
      cells |= set(cells_of(preset.grids))
      analyses |= set(preset.analyses)
  full = presets.PRESETS["full"]
  assert set(cells_of(full.grids)) == cells
  assert set(full.analyses) == analyses


def test_each_variant_changes_what_it_names():
  plain = fields_of(CELL)
  for name in VARIANTS:
    own = fields_of(dataclasses.replace(CELL, variant=name))
    assert (own == plain) == (name == "plain")


def data(domain):
  return f"what {domain} is"


def write(path, rows, cells):
  path.write_bytes(to_csv(rows, cells, data))
  return str(path)


def test_rows_come_back_as_they_were(tmp_path):
  path = write(tmp_path / "runs.csv", {CELL: ROW}, [CELL])
  found = read_csv(path, [CELL], data)[CELL]
  assert found.curve == ROW.curve and found.accuracy_after == 1 / 3
  assert (
    to_csv({CELL: found}, [CELL], data) == (tmp_path / "runs.csv").read_bytes()
  )


def test_rows_stand_in_the_grids_order_whichever_finished_first():
  other = dataclasses.replace(CELL, seed=0)
  one = to_csv({CELL: ROW, other: ROW}, [other, CELL], data)
  assert one == to_csv({other: ROW, CELL: ROW}, [other, CELL], data)


def test_a_missing_file_holds_no_rows(tmp_path):
  assert read_csv(str(tmp_path / "runs.csv"), [CELL], data) == {}


def test_a_row_of_another_grid_is_refused(tmp_path):
  path = write(tmp_path / "runs.csv", {CELL: ROW}, [CELL])
  longer = dataclasses.replace(CELL, passes=200)
  refusals.refused(
    lambda: read_csv(path, [longer], data), "line 2", "not in this grid"
  )


def test_a_row_of_other_settings_is_refused(tmp_path, monkeypatch):
  monkeypatch.setitem(VARIANTS, "odd", {"momentum": 0.5})
  cell = dataclasses.replace(CELL, variant="odd")
  path = write(tmp_path / "runs.csv", {cell: ROW}, [cell])
  monkeypatch.setitem(VARIANTS, "odd", {"momentum": 0.6})
  refusals.refused(
    lambda: read_csv(path, [cell], data), "other settings", "0.5"
  )


def test_a_row_of_other_data_is_refused(tmp_path):
  path = write(tmp_path / "runs.csv", {CELL: ROW}, [CELL])
  refusals.refused(
    lambda: read_csv(path, [CELL], lambda domain: "another"),
    "line 2",
    "other data, what d is, here is another",
  )


def test_a_row_of_other_versions_is_refused(tmp_path, monkeypatch):
  path = write(tmp_path / "runs.csv", {CELL: ROW}, [CELL])
  monkeypatch.setattr(rows, "versions_text", lambda: "numpy 9")
  refusals.refused(
    lambda: read_csv(path, [CELL], data), "here is numpy 9", "--out_dir"
  )


@pytest.mark.parametrize(
  ("content", "said"),
  [
    (b"what,data\n1,2\n", "not a CSV"),
    (b"\xff\xfe", "not a CSV"),
    (b"", "not a CSV"),
  ],
)
def test_an_invalid_file_is_refused(tmp_path, content, said):
  (tmp_path / "runs.csv").write_bytes(content)
  path = str(tmp_path / "runs.csv")
  refusals.refused(lambda: read_csv(path, [CELL], data), said)


@pytest.mark.parametrize("point", ["0:x", "0:5.0", "0:nan", "9:0.5 0:0.25"])
def test_a_damaged_row_is_refused_by_its_line(tmp_path, point):
  path = tmp_path / "runs.csv"
  write(path, {CELL: ROW}, [CELL])
  path.write_text(path.read_text().replace("0:0.25", point))
  refusals.refused(
    lambda: read_csv(str(path), [CELL], data), "line 2 is damaged"
  )
