"""tflm-fg-kws corpus: synthetic speech in the Speech Commands layout.

  tflm-fg-kws corpus --out=speech --clips_per_word=400
  tflm-fg-kws corpus --out=mine --domain=whisper --words=lamp,kitchen
  tflm-fg-kws corpus --recording=long.wav --domain=whisper

Makes WORD/SPEAKER_nohash_N.wav (16-bit mono, 16 kHz) and _background_noise_.
Two parts of --split never share an utterance: train on one, test on another.
With --recording it speaks into one long file instead, or besides, and writes
what was said when into a .csv of the same name.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable

import numpy as np
import tqdm
from absl import flags
from numpy.typing import NDArray

from apps import cli
from apps.kws.audio.files import to_wav, write
from apps.kws.synthetic import recordings, speakers, voices
from tflm_fg.files import (
  require_outputs,
  require_writable,
  umask,
  write_atomically,
)
from tflm_fg.types import TflmFgError

KEYWORDS = voices.CLASSES[:10]

cli.section(cli.NEEDED)
_OUT = flags.DEFINE_string("out", None, "the folder to make; must not exist")
_WORDS = flags.DEFINE_list(
  "words", None, "the words; by default the ten of Speech Commands' keywords"
)
_CLIPS = flags.DEFINE_integer("clips_per_word", 20, "clips of each word", 1)
_OTHERS = flags.DEFINE_integer(
  "other_clips",
  None,
  "clips of other words in all; by default as many as of a word, and none with "
  "--words",
  0,
)
cli.section(cli.OFTEN)
_SPEAKERS = flags.DEFINE_integer(
  "speakers", 0, "how many speak; 0 is one for every clip of a word", 0
)
_DOMAIN = flags.DEFINE_enum(
  "domain", "source", list(voices.DOMAINS), "who speaks, and how recorded"
)
_SPLIT = flags.DEFINE_enum(
  "split", "train", list(voices.SPLITS), "which part of the utterances"
)
cli.section(cli.SOMETIMES)
_SEED = flags.DEFINE_integer("seed", 0, "same seed, same bytes", 0)
_RECORDING = flags.DEFINE_string("recording", None, "a long WAV to make")
_MINUTES = flags.DEFINE_float("recording_minutes", 10, "its length", 0.1, 600)
_SAID = flags.DEFINE_integer(
  "recording_words",
  60,
  "how often a word is said in it; other words come as often again",
  1,
)


def main() -> None:
  """Speaks, writes, says how long it took."""
  if not _OUT.value and not _RECORDING.value:
    raise TflmFgError("--out=FOLDER is missing, or --recording=LONG.wav")
  if _OUT.value:
    make_folder(_OUT.value, plan())
  if _RECORDING.value:
    make_recording(_RECORDING.value)


def plan() -> speakers.Corpus:
  """What the flags ask for."""
  others = _OTHERS.value
  if others is None:
    others = 0 if _WORDS.value else _CLIPS.value
  words = tuple(_WORDS.value or KEYWORDS)
  return speakers.Corpus(
    words=words,
    clips_per_word=_CLIPS.value,
    other_words=tuple(w for w in voices.UNKNOWN_WORDS if w not in words),
    other_clips=others,
    domain=_DOMAIN.value,
    split=_SPLIT.value,
    speakers=_SPEAKERS.value,
    seed=_SEED.value,
  )


def make_folder(out: str, corpus: speakers.Corpus) -> None:
  """Writes the corpus, whole or not at all."""
  began = time.perf_counter()
  if os.path.exists(out):
    raise TflmFgError(f"{out}: is there already; name a new folder")
  require_writable(out)
  plans = corpus.plans()
  made = zip(
    (place for place, _ in plans), speakers.record([one for _, one in plans])
  )
  bar = tqdm.tqdm(made, "speaking", len(plans), unit="clip", disable=None)
  folder = tempfile.mkdtemp(
    prefix=".tflm_fg-", dir=os.path.dirname(os.path.abspath(out))
  )
  try:
    write_all(folder, bar)
    write_all(folder, corpus.noises())
    os.chmod(folder, 0o777 & ~umask())
    os.rename(folder, out)
  except OSError as fault:
    raise TflmFgError(f"{out}: cannot be written: {fault.strerror}") from None
  finally:
    shutil.rmtree(folder, ignore_errors=True)
  print(
    f"{out}: {len(plans)} clips of {len({p.split('/')[0] for p, _ in plans})} "
    f"words by {corpus.voices} speakers of {corpus.domain!r} in "
    f"{time.perf_counter() - began:.1f} s"
  )


def write_all(
  folder: str, clips: Iterable[tuple[str, NDArray[np.int16]]]
) -> None:
  """Writes clips below a folder that nobody reads yet."""
  for place, clip in clips:
    path = os.path.join(folder, place)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
      file.write(to_wav(clip))


def make_recording(path: str) -> None:
  """Writes a long recording and its table of words."""
  table = os.path.splitext(path)[0] + ".csv"
  require_outputs({"recording": path, "recording's .csv": table}, {})
  corpus = plan()
  sound, spoken = recordings.make(
    corpus.words,
    corpus.other_words if _OTHERS.value != 0 else (),
    minutes=_MINUTES.value,
    count=_SAID.value,
    domain=corpus.domain,
    split=corpus.split,
    seed=corpus.seed,
  )
  write(path, sound)
  write_atomically(table, recordings.to_csv(spoken))
  print(f"{path}: {_MINUTES.value:g} minutes, {_SAID.value} words; {table}")


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
