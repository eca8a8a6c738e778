"""A corpus is the same bytes every run, in a layout that other tools read."""

import hashlib
import pathlib
import wave

import pytest

from apps.kws.synthetic import recordings, speakers
from apps.kws.synthetic.voices import DOMAINS
from tests import programs
from tests.apps.kws import corpora
from tflm_fg.types import TflmFgError

pytest.importorskip("espeakng_loader", reason="needs the extra kws")

KWS = "apps.kws.__main__"


def _digests(root: pathlib.Path) -> dict[str, str]:
  return {
    p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
    for p in sorted(root.rglob("*.wav"))
  }


def test_two_runs_make_the_same_files_in_the_layout_of_speech_commands(
  tmp_path,
):
  flags = ("--words=lamp,up", "--clips_per_word=30", "--domain=whisper")
  for name in ("one", "two"):
    done = programs.run(tmp_path, KWS, "corpus", *flags, f"--out={name}")
    assert done.returncode == 0, done.stderr
  first = _digests(tmp_path / "one")
  assert first == _digests(tmp_path / "two")
  assert len(set(first.values())) == len(first)
  folders = {name.split("/")[0] for name in first}
  assert folders == {"lamp", "up", "_background_noise_"}
  for name in first:
    with wave.open(str(tmp_path / "one" / name)) as file:
      assert file.getparams()[:3] == (1, 2, 16_000)
      if not name.startswith("_"):
        assert file.getnframes() == 16_000
        assert "_nohash_" in name
  assert not list(tmp_path.glob(".tflm_fg-*"))


def test_speech_that_was_killed_goes_on_and_is_the_same(tmp_path):
  flags = ("--words=lamp,up", "--clips_per_word=3", "--domain=whisper")

  def make(out, *more, before=""):
    return programs.run(
      tmp_path, KWS, "corpus", *flags, f"--out={out}", *more, before=before
    )

  assert make("one").returncode == 0
  kill = (
    "import os\nfrom tflm_fg.checkpoint.record_file import RecordFile as File\n"
    "whole, left = File._write, [4]\n"
    "def write(self, line):\n"
    "  left[0] -= 1\n"
    "  whole(self, line if left[0] else line[:99])\n"
    "  if not left[0]: os.kill(os.getpid(), 9)\n"
    "File._write = write\n"
  )
  assert make("two", "--checkpoint=c", before=kill).returncode not in (0, 1)
  assert not (tmp_path / "two").exists()
  done = make("two", "--checkpoint=c")
  assert (done.returncode, "behind 2 finished" in done.stderr) == (0, True)
  assert "the last 99 bytes are no whole record" in done.stderr
  assert _digests(tmp_path / "one") == _digests(tmp_path / "two")
  assert not list(tmp_path.glob(".tflm_fg-*"))  # what the kill left is swept
  other = make("three", "--checkpoint=c", "--seed=1")
  assert other.returncode == 1
  assert "seed was 0 and is 1" in other.stderr


def test_another_seed_or_split_is_another_corpus():
  def plans(**change):
    one = {"words": ("yes",), "clips_per_word": 30, **change}
    return {p.utterance for _, p in speakers.Corpus(**one).plans()}

  assert plans(seed=1) != plans()
  assert plans(split="train").isdisjoint(plans(split="test"))


def test_a_speaker_has_one_voice_and_says_every_word():
  corpus = speakers.Corpus(words=("yes", "no"), clips_per_word=6, speakers=2)
  voices: dict[str, set[str]] = {}
  for place, plan in corpus.plans():
    speaker = place.split("/")[1].split("_")[0]
    voices.setdefault(speaker, set()).add(plan.utterance.voice)
  assert [len(v) for v in voices.values()] == [1, 1]
  assert len({place for place, _ in corpus.plans()}) == 12


@pytest.mark.parametrize("domain", list(DOMAINS))
def test_every_domain_can_be_spoken(domain):
  corpus = speakers.Corpus(words=("stop",), clips_per_word=2, domain=domain)
  clips = list(speakers.record([plan for _, plan in corpus.plans()]))
  assert [len(c) for c in clips] == [16_000] * 2


@pytest.mark.parametrize("word", ["", "a/b", "..", "nul\0", " up"])
def test_a_word_that_is_no_folder_is_refused(word):
  with pytest.raises(TflmFgError, match="--words"):
    speakers.Corpus(words=(word,), clips_per_word=1)


def test_a_recording_says_its_words_at_the_stated_times(tmp_path):
  sound, spoken = recordings.make(
    ("yes", "go"),
    ("cat",),
    minutes=0.5,
    count=4,
    domain="source",
    split="test",
    seed=0,
  )
  assert len(sound) == 30 * 16_000
  assert (
    sorted(t.word for t in spoken) == ["cat"] * 4 + ["go"] * 2 + ["yes"] * 2
  )
  energy = [
    (sound[int(t.seconds * 16_000) - 1600 :][:3200].astype(float) ** 2).mean()
    for t in spoken
  ]
  assert min(energy) > 3 * (sound[:1600].astype(float) ** 2).mean()
  path = tmp_path / "spoken.csv"
  path.write_bytes(recordings.to_csv(spoken))
  assert recordings.read_csv(str(path)) == spoken


def test_a_table_that_is_none_is_refused(tmp_path):
  path = tmp_path / "bad.csv"
  for text, words in (
    ("", "no table of words"),
    ("a,b\n1,2\n", "need the columns seconds and word"),
    ("seconds,word\nx,yes\n", "line 2: 'x' is no time"),
    ("seconds,word\n1,yes\n-1,yes\n", "line 3: '-1' is no time"),
    ("seconds,word\nnan,yes\n", "line 2: 'nan' is no time"),
    ("seconds,word\ninf,yes\n", "line 2: 'inf' is no time"),
    ("seconds,word\n0.5\n", "line 2: holds no word"),
    ("seconds,word\n0.5, \n", "line 2: holds no word"),
  ):
    path.write_text(text)
    with pytest.raises(TflmFgError, match=words):
      recordings.read_csv(str(path))
  path.write_text("seconds,word\n")  # nothing was said
  assert recordings.read_csv(str(path)) == []


def test_too_many_words_for_a_recording_are_refused():
  with pytest.raises(TflmFgError, match="too short"):
    recordings.make(
      ("yes",), (), minutes=0.1, count=9, domain="source", split="test", seed=0
    )


@pytest.mark.parametrize(
  ("flags", "status", "words"),
  [
    ((), 1, "--out=FOLDER is missing"),
    (("--out=there",), 1, "there: is there already"),
    (("--out=x", "--words=a/b"), 1, "'a/b' cannot name a folder"),
    (("--out=x", "--domain=martian"), 2, "domain"),
  ],
)
def test_wrong_flags_are_one_line(tmp_path, flags, status, words):
  (tmp_path / "there").mkdir()
  done = programs.run(tmp_path, KWS, "corpus", *flags)
  assert done.returncode == status
  (line,) = done.stderr.strip().splitlines()
  assert words in line
  assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_small_corpora_have_the_clips_that_other_tests_expect():
  root = corpora.speech()
  found = {p.name: len(list(p.iterdir())) for p in root.iterdir()}
  assert {w: found[w] for w in corpora.WORDS} == dict.fromkeys(corpora.WORDS, 5)
