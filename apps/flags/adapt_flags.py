"""The flags of tflm-fg-adapt that name files and say what trains."""

from __future__ import annotations

from absl import flags

from apps import cli
from apps.flags import sample_flags
from tflm_fg.placement import ABSENT_CLASSES as ABSENT

cli.section(cli.NEEDED)
MODEL = flags.DEFINE_string(
  "model",
  None,
  "an int8, int16x8 or legacy uint8 .tflite, marked or not",
  required=True,
)
TRAIN = flags.DEFINE_string(
  "train", None, f"samples to train on: {sample_flags.FORMS}"
)
OUT = flags.DEFINE_string("out", None, "the adapted .tflite", required=True)

cli.section(cli.OFTEN)
TEST = flags.DEFINE_string(
  "test", None, "samples to score on, in any form of --train, or the same file"
)
TRAINABLE = flags.DEFINE_string(
  "trainable",
  None,
  "auto, head, wide-head, prompt, first-bias, bias, all, a regular expression "
  "on tensor names, or several with commas; by default what the file's mark "
  "says, or auto",
)
OLD_DATA = flags.DEFINE_string(
  "old_data",
  None,
  "samples of what the model could do before, in any form of --train: scored "
  "before and after, never trained on; what loses more than two points of "
  "them is trained more gently, or left as it was",
)
REPLAY = flags.DEFINE_string(
  "replay",
  None,
  "samples of before, in any form of --train, that are trained on too, so that "
  "the model does not forget them",
)
DRY_RUN = flags.DEFINE_boolean(
  "dry_run",
  False,
  "say in a few seconds what would be tried, in how many passes and seconds, "
  "and write nothing",
)
REPORT_DIR = flags.DEFINE_string(
  "report_dir",
  None,
  "folder for index.html, a page that needs no other file, and report.json",
)
REPORT = flags.DEFINE_string("report", None, "JSON with all numbers")
JOURNAL = flags.DEFINE_string(
  "journal", None, "where to record seed and slopes of every step"
)

cli.section(cli.SOMETIMES)
ABSENT_CLASSES = flags.DEFINE_enum(
  "absent_classes",
  "keep",
  list(ABSENT),
  "keep what the model knows of classes that y lacks, or has few samples of; "
  "ignore: train on what there is, whatever becomes of the others",
)
FROM_JOURNAL = flags.DEFINE_string(
  "from_journal",
  None,
  "a journal: make its adapted file again from the --model of that run, "
  "without --train and without an engine",
)
BLOB = flags.DEFINE_string(
  "blob",
  None,
  "the blob.bin of tflm-fg-export: --from_journal is what a device has saved, "
  "and --model the marked.tflite beside the blob",
)
EVERY_STEP = flags.DEFINE_boolean(
  "every_step",
  False,
  "record every step of an exact head in --journal too, so that --from_journal "
  "with --steps can stop at any of them; else it holds the head's end alone",
)
KEEP_MARK = flags.DEFINE_boolean(
  "keep_mark", False, "leave the training mark in the adapted file"
)
PLOT = flags.DEFINE_string("plot", None, "PNG with the curves")
LOG = flags.DEFINE_string("log", None, "CSV with every validation")
