"""tflm-fg-kws corpus: synthetic speech in the Speech Commands layout.

  tflm-fg-kws corpus --out=speech --clips_per_word=400
  tflm-fg-kws corpus --out=mine --domain=whisper --words=lamp,kitchen
  tflm-fg-kws corpus --recording=long.wav --domain=whisper

Makes WORD/SPEAKER_nohash_N.wav (16-bit mono, 16 kHz) and _background_noise_.
Two parts of --split never share an utterance: train on one, test on another.
With --checkpoint clips are kept as they are spoken, and the same command goes
on behind them. With --recording it speaks into one long file instead, or
besides, and writes what was said when into a .csv of the same name.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import tqdm
from absl import flags
from numpy.typing import NDArray

from apps import checkpoints, cli
from apps.flags import checkpoint_flags
from apps.kws.audio.files import to_wav, write
from apps.kws.synthetic import recordings, speakers, voices
from tflm_fg.checkpoint import Kept, Memo, address
from tflm_fg.files import (
  require_new_folder,
  require_outputs,
  write_atomically,
  write_folder,
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
  require_new_folder(out)
  plans = corpus.plans()
  kept = checkpoint_flags.CHECKPOINT.value
  with checkpoints.opened(kept, corpus.belonging) as memo:
    made = spoken(plans, memo)
    bar = tqdm.tqdm(made, "speaking", len(plans), unit="clip", disable=None)
    clips = itertools.chain(bar, corpus.noises())
    write_folder(out, ((place, to_wav(clip)) for place, clip in clips))
    memo.finish()
  print(
    f"{out}: {len(plans)} clips of {len({p.split('/')[0] for p, _ in plans})} "
    f"words by {corpus.voices} speakers of {corpus.domain!r} in "
    f"{time.perf_counter() - began:.1f} s"
  )


def spoken(
  plans: Sequence[tuple[str, voices.Plan]], memo: Memo
) -> Iterator[tuple[str, NDArray[np.int16]]]:
  """Clips and their places, in order; those that are kept are not made again.

  Args:
    plans: each clip's place, and its plan.
    memo: where they are kept.
  """
  places = {place: address("clip", place) for place, _ in plans}
  missing = [plan for place, plan in plans if memo.find(places[place]) is None]
  made = speakers.record(missing)
  for place, _ in plans:
    found = memo.find(places[place])
    if found is None:
      found = Kept({"pcm": next(made)})
      memo.keep(places[place], found)
    yield place, found.arrays["pcm"]


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
  return cli.launch(main, __name__, also=[checkpoint_flags.__name__])


if __name__ == "__main__":
  sys.exit(run())
