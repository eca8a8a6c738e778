"""What is said that is not the wake word.

None of these sentences is in the stock of negatives that the program trains
with; `python tools/measure_wake.py check` holds them against it.
"""

from __future__ import annotations

import random

CONFUSABLE = {
  "tune": (
    "okay Nadia see you soon",
    "the cane and the bamboo chair",
    "hey Jarrod put the service plate back",
    "hey there vicar",
    "I lent Lexie a ladder",
    "a Texan rode past",
    "hey my cough got worse",
    "the hay might roughly last till March",
    "he may draft the letter again",
    "okay not you but him",
    "Jamaica is far from Norway",
    "the annex is behind the hall",
    "hey Jerry what is this",
    "a new canoe is on the beach",
    "hay and barley and rye",
    "she acts as if she knew",
  ),
  "test": (
    "okay Naomi bring the book",
    "okay now boil the potatoes",
    "the gateau was a taboo at our table",
    "hey Nathan who was it",
    "we may know by two",
    "a kayak and a bamboo raft",
    "the cake is on the blue napkin",
    "obey no boor",
    "hey Jasper is that you",
    "hey Jan give this to Charles",
    "they starve us in the army",
    "hey Marvin turn around",
    "hey jog this way",
    "she parked the car by the service road",
    "hey job is done",
    "the jar of ice is empty",
    "Alexis and Alexander are twins",
    "a legs and arms workout",
    "I let Sara in",
    "Alaskan salmon with lemon",
    "the electric saw is broken",
    "I like some of them",
    "a lecture on saxophones",
    "the axle of the Lexus snapped",
    "hey Mike loft beds are cheap",
    "hey my croissant is cold",
    "hey my cross is gone",
    "they might craft a raft",
    "hey Minecraft is fun",
    "hey Michael scoffed at it",
    "hey Mike dropped his phone",
    "the microphone is off",
    "hey you over there",
    "okay boomer",
    "hey what a day",
    "okay what now",
  ),
}
"""Sentences that sound like one of the four words in a part; near misses."""

_SUBJECT = {
  "tune": "my sister|the plumber|our old cat|the nurse|a farmer|the committee",
  "test": (
    "the neighbour|our grandmother|the baker|a student|the whole family|"
    "the dentist|the captain|my cousin|the librarian|somebody"
  ),
}
_VERB = {
  "tune": "carried|wanted|sold|counted|found|repaired",
  "test": (
    "forgot|borrowed|painted|noticed|ordered|returned|promised|finished|"
    "described|missed"
  ),
}
_OBJECT = {
  "tune": "three baskets|the red tractor|a bottle of milk|the long letter",
  "test": (
    "the umbrella|two tickets for Saturday|a bowl of soup|the wooden fence|"
    "an old photograph|the second chapter|her winter boots|a box of nails|"
    "the evening paper|some fresh bread"
  ),
}
_END = {
  "tune": "before dinner|without a word|near the bridge|for the wedding",
  "test": (
    "at the station|because of the rain|in the middle of the night|"
    "after the concert|behind the garage|on the way to school|last summer|"
    "with a smile|as usual|from the upper shelf"
  ),
}


def ordinary(part: str, count: int, seed: int) -> list[str]:
  """Everyday sentences out of a small grammar.

  Args:
    part: "tune" or "test", which have no sentence in common.
    count: how many.
    seed: which ones.
  """
  draw = random.Random(f"{part} {seed}")
  pieces = [s[part].split("|") for s in (_SUBJECT, _VERB, _OBJECT, _END)]
  return [" ".join(map(draw.choice, pieces)) for _ in range(count)]
