"""Phrases that sound like a wake word, and never the wake word itself."""

import pytest

from apps.wake.data import phrases

WORDS = (
  *phrases.COMMON,
  "Hey Peppa Pig",
  "Hallo Computer",
  "Où est Zoë",
  "okay",
  "hey hey",
  "r2 d2",
)


@pytest.mark.parametrize("word", WORDS)
def test_phrases_alike_are_many_and_do_not_hold_the_word(word):
  found = phrases.alike(word)
  assert len(found) >= 12
  assert len(set(found)) == len(found)
  assert not any(phrases.holds(phrase, word) for phrase in found)


def test_phrases_share_the_greeting_and_the_letters():
  found = phrases.alike("Hey Jarvis")
  assert sum(phrase.startswith("hey ") for phrase in found) > len(found) // 2
  assert "harvey" in " ".join(found)


def test_words_that_some_accents_say_alike_are_left_out():
  assert "pepper" not in phrases.neighbours("peppa", 30)
  assert "stopping" not in phrases.neighbours("stop", 30)
  assert "alex" in phrases.neighbours("alexa", 3)


def test_a_phrase_holds_a_word_only_whole_and_however_it_is_spelled():
  assert phrases.holds("OK, Computer!", "computer")
  assert not phrases.holds("computers", "computer")
  assert phrases.holds("say okay naboo", "Okay Nabu")
  assert not phrases.holds("anything", "")


def test_the_greeting_is_no_part_of_what_must_not_be_said():
  assert phrases.content("Hey Peppa Pig") == "peppa pig"
  assert phrases.content("Alexa") == "alexa"
  assert phrases.content("hey") == "hey"
  assert phrases.content("") == ""


def test_ordinary_sentences_avoid_the_wake_word():
  usual = phrases.ordinary(300, 0)
  assert usual == phrases.ordinary(300, 0)
  holding = [s for s in usual if phrases.holds(s, "please")]
  assert holding
  kept = phrases.ordinary(300, 0, avoid="please")
  assert not any(phrases.holds(s, "please") for s in kept)


def test_no_wake_word_has_no_phrases_alike():
  assert phrases.alike("") == phrases.alike(" - ") == []
