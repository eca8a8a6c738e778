"""tflm-fg-fleet combine: files of many devices, added up into one.

  tflm-fg-fleet combine --sums=phone-1.bin,phone-2.bin --out=all.bin
  tflm-fg-fleet combine --sums=received --out=all.bin
  tflm-fg-fleet combine --sums=north.bin,south.bin --out=all.bin

Neither order nor grouping changes a bit, so that what was combined can be
combined again, on whatever lies on the way. It needs no model. The same file
twice counts once; a device in two different files is refused by name.
"""

from __future__ import annotations

import sys

from absl import flags

from apps import cli
from apps.fleet import received
from tflm_fg import federated, files

cli.section(cli.NEEDED)
_SUMS = flags.DEFINE_list(
  "sums", None, "files of devices, or folders of them", required=True
)
_OUT = flags.DEFINE_string("out", None, "the file to write", required=True)


def main() -> None:
  """Reads, adds up, writes."""
  paths = received.files_in(_SUMS.value)
  files.require_outputs(cli.values(_OUT), received.numbered("sums", paths))
  contents = [files.read_bytes(path) for path in paths]
  total = federated.combine(contents, paths)
  files.write_atomically(_OUT.value, total)
  print(f"{_OUT.value}: {len(total)} bytes, the sums of {len(paths)} files")


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
