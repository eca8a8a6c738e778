"""Hold the bench's voices and sentences against those that train."""

from __future__ import annotations

from apps.wake.data import phrases, stock, voices
from tools.wake import groups, sentences, settings


def shared_variants() -> set[str]:
  """espeak-ng's variants that both the bench and the stock speak with."""
  spoken = {*settings.ORIGINALS, *settings.OTHERS}
  for stem in settings.SPOKEN:
    for setting in settings.settings(stem):
      spoken |= {setting.voice, *setting.siblings()}
  return {voice.partition("+")[2] for voice in spoken} & voices.VARIANTS


def shared_sentences() -> set[str]:
  """Sentences that both the bench and the stock say."""
  said = {
    phrases.normal(text)
    for group in ("negatives", "ordinary")
    for recording in groups.negatives(group)
    for text in recording.texts
  }
  said |= {phrases.normal(t) for t in sentences.CONFUSABLE["test"]}
  trained = {t for plan in stock.negative_plans() for t in plan.texts}
  for word in settings.SPOKEN:
    trained |= set(phrases.alike(word.replace("_", " ")))
  return said & {phrases.normal(text) for text in trained}


def report() -> str:
  """Says in two lines what is shared."""
  variants, texts = sorted(shared_variants()), sorted(shared_sentences())
  return (
    f"variants of voices in both: {', '.join(variants) or 'none'}\n"
    f"sentences in both: {', '.join(texts) or 'none'}"
  )
