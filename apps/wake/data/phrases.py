"""Choose what is said that is not the wake word.

It is ordinary speech, and phrases that sound like the wake word. Those are
found for any wake word, by its letters: words of a list that share many with
it, names after its greeting, made-up words with other beginnings, and parts of
it in other sentences.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
import zlib

import numpy as np

GREETINGS = frozenset(
  "hey hi hello okay ok oh yo hallo hej hola salut ciao ola hoi hei oye".split()
)

SAID = {
  "okay nabu": "okay naboo",
  "hey rhasspy": "hey raspy",
  "choo choo homie": "choo choo homey",
}
"""Wake words that espeak-ng would not say as people do, and what it gets."""

COMMON = (
  "okay nabu",
  "hey jarvis",
  "alexa",
  "hey mycroft",
  "okay computer",
  "hey computer",
  "computer",
  "hey peppa pig",
  "hey jenkins",
  "choo choo homie",
  "hey rhasspy",
  "marvin",
  "stop",
  "hey home",
  "hey luna",
  "hey friday",
)
"""Wake words whose keepers the stock has."""

_VOCABULARY = """
able about above accept across actor address adult advice affair afternoon again
agent airport alarm album alcohol alert alex alice alive alley allow almond
almost alone alphabet already always amazing amber america ancient angel anger
animal ankle annual answer anthem apple apricot april arctic arena argue armor
army around arrive arrow artist aspirin athlete atlas attic august author autumn
avenue average aviary awake award baby bacon badger bagel bakery balcony ballet
bamboo banana banker barber bargain barrel basin basket battle bazaar beach
beacon beaver because bedroom beetle before begin believe belong berlin beside
better between beyond bicycle bigger billion biscuit bishop bitter blanket
blossom boiler bonus border borrow bottle bottom boulder bowling boxer bracelet
branch bravo bread breakfast breeze bridge bring broken brother bubble bucket
budget buffalo bullet bumper bunny burger butcher butter button cabbage cabin
cable cactus camel camera camper canal candle candy canoe canvas captain caravan
carbon career careful carnival carpet carrot carton carve castle catalog cattle
caution cavern ceiling cellar cement center cereal certain chamber champion
chance change channel chapel chapter charcoal charlie cheese cherry chess
chicken children chimney china choice chorus cinema circle citizen city clever
climate closet clover coast cobweb cocoa coffee collar college colony color
column comedy comet comma commute compute computing conclude concrete confuse
connect consider consult contain contest contour control convert cookie copper
corner cotton couch counter country couple cousin cover cowboy crafty crater
crayon creature cricket crocus crossing crowded crystal cupboard curious current
curtain custom cutter dagger dairy daisy damage dancer danger darling daughter
david dealer debate december decide deeper defend degree delay deliver dentist
depend desert design destroy detail develop diamond diary dinner direct discuss
distance divide doctor dollar dolphin domino donkey double dozen dragon drawer
dreamer drummer during eager early earth easel easy echo eclipse economy editor
effort eighty eleven elect election electric elegant elephant elsewhere embark
emerald empty engine enjoy enough enter envelope episode equal escape evening
every evident exact example except expect expert explain export express extra
fable fabric factor fairly falcon family famous farmer fashion father favor
feather fellow fencing ferry festival fiction fiddle fifteen figure filter
finger finish fireman fisher flavor flexible flower foggy follow foolish forest
forever forget formula fortune forward fossil fountain fourteen fragile freedom
freezer friday friend frozen fruit funny furnace future gallery gallon garage
garden garlic garment gather general genius gentle ginger giraffe glacier
glasses glitter goblin golden gorilla gossip granny gravel gravity grocer guitar
habit hammer hamster handle happen happy harbor harder hardware harmony harness
harvest harvey hasty hazel healthy heavy helmet helper hermit herring highway
history hobby hockey holiday holly honest honey horizon hospital hotel hourly
humble hundred hungry hunter hurry icicle idea igloo imagine improve inches
indoor inform injure insect inside instead invite island ivory jacket jagged
janet january jargon jasmine jaws jealous jelly jenny jersey jewel jigsaw jingle
jogging joking jolly journey judges juggle juicy jumper jungle junior justice
kangaroo kennel kettle keyboard kidney kingdom kitchen kitten knuckle label
ladder lagoon lantern laptop large laser later laundry lavender lawyer leader
leather lecture legend lemon leopard lesson letter lettuce level lexus library
license lifting lightning limit linen listen little lizard lobster local locker
lonely lottery lounge lover lucky luggage lumber lunar lunch luxury machine
magazine magnet major mammal manager mandarin mango manner marble march margin
marina market marlin marmalade married marvel master matter mayor meadow medal
melon member memory menu mercury mermaid message metal meter michael microphone
middle midnight mighty million minister minor minute mirror mischief mixture
model modern moment monday money monkey monster morning mosquito mother motor
mountain mouse movie muffin mule muscle museum mushroom music mustard mystery
mystic napkin narrow nation native nature naval naughty nearly needle neighbor
nephew nervous never nickel nine noble noodle normal northern nothing notice
novel november number nugget nurse object ocean october offer office often olive
onion open opera orange orchard order organ orphan otter outside oven owner
oyster package paddle palace pancake panda panel panther paper parade parcel
parents parking parrot partner party passage pastry patient pattern peanut
pebble pelican pencil penguin people pepper percent perfect person petal phantom
picnic picture pigeon pillow pilot pirate pistol pizza planet plastic platform
player pleasant plenty pocket poem police polite poodle popcorn poppy portrait
potato powder practice present pretty printer prison private problem profit
promise protect public pudding pumpkin puppet puppy purple puzzle python quarter
question quick quiet rabbit racket radar radio radish railway rainbow raisin
random rapid rascal raspberry rather rattle raven reader reason rebel recent
record reduce regular relax remain remember repair reply report rescue result
return reward rhythm ribbon riddle rifle ripple river robin rocket rolling roman
rooster rosemary rotten rubber runner rusty saddle safari sailor salad salmon
sample sandal sandwich saturday saucer scarlet scatter school science scooter
screen season second secret select senior sentence service settle seven several
shadow shampoo sharpen shelter sheriff shopping shoulder shower silver simple
singer single sister sixty skipper sleeping slipper smaller smoking snooker
soccer social soldier someone sorry soup southern spaghetti sparrow special
spider spinach spirit spoken square squirrel stable stadium station steady
steamer sticker stocking stomach stopping stopper storage story stranger street
student subject success sudden sugar suggest summer sunday sunny supper surface
surprise sweater swimming syrup system table tailor talent target tavern teacher
teapot temple tennis terrace thankful theater thirty thousand thunder ticket
tidy tiger timber tissue toaster tobacco today together tomato tomorrow tonight
topic tornado tower tractor traffic trainer travel treasure trouble trumpet
tuesday tulip tunnel turkey turtle twelve twenty twister uncle under uniform
unit upper useful usual valley vanilla velvet vessel victor village vinegar
violet vision visitor volcano volume waffle wagon waiter walnut wander warning
washer water wealthy weather wedding weekend welcome western whisper whistle
willow window winner winter wizard woman wonder wooden worker worried writer
yellow yesterday yogurt young zebra zero zipper
"""

_NAMES = (
  "michael anna peter julia thomas emily george laura simon nina robert clara"
).split()

_TAILS = (
  "can you help me with this",
  "where did you go last night",
  "is on the table over there",
  "what a lovely day it is",
  "I will be back in an hour",
  "please close the front door",
)

_SENTENCES = (
  "the {0} and the {1} were bought at the {2}",
  "could you bring the {0} to my {1} before {2}",
  "I have never seen a {0} with such a {1}",
  "she told me that the {0} comes after the {1}",
  "we need more {0} and some {1} for the {2}",
  "put the {0} next to the {1} please",
  "my {0} lost a {1} near the old {2}",
  "is there any {0} left in the {1}",
  "on the radio they spoke of {0} and {1}",
  "turn the {0} a little to the {1}",
  "what is the price of a {0} in the {1}",
  "he reads about the {0} every {1}",
  "no {0} today but maybe a {1} next week",
  "{0} {1} {2} {3}",
)

_ONSETS = "b d f g k l m n p r s t v w".split()
_ENDINGS = ("er", "o", "ix", "an", "ella", "ut", "ing")

_FOLDS = (
  ("ck", "k"), ("ph", "f"), ("qu", "kw"), ("x", "ks"), ("wh", "w"), ("y", "i"),
  ("oo", "u"), ("ee", "i"), ("ea", "i"), ("ce", "se"), ("ci", "si"), ("c", "k"),
  ("z", "s"), ("dg", "j"), ("ge", "je"),
)  # fmt: skip


def normal(phrase: str) -> str:
  """A phrase in small letters, without marks and with single spaces."""
  text = unicodedata.normalize("NFC", phrase).lower()
  return " ".join(re.sub(r"[^\w']+|_", " ", text).split())


def said(wake_word: str) -> str:
  """What a voice is asked to say for a wake word."""
  phrase = normal(wake_word)
  return SAID.get(phrase, phrase)


def holds(phrase: str, wake_word: str) -> bool:
  """Whether a phrase has the wake word in it, as whole words."""
  inside = {normal(wake_word), said(wake_word)}
  outer = {f" {normal(phrase)} ", f" {said(phrase)} "}
  return any(f" {i} " in o for i in inside if i for o in outer)


def content(wake_word: str) -> str:
  """A wake word without the greeting that it begins with."""
  words = normal(wake_word).split()
  while len(words) > 1 and words[0] in GREETINGS:
    words = words[1:]
  return " ".join(words)


def ordinary(count: int, seed: int, avoid: str = "") -> list[str]:
  """Sentences that anybody might say.

  Args:
    count: how many.
    seed: which.
    avoid: a wake word that must not be in them.
  """
  rng, found = np.random.default_rng([seed, 7]), list[str]()
  words = vocabulary()
  while len(found) < count:
    frame = _SENTENCES[int(rng.integers(len(_SENTENCES)))]
    chosen = [words[int(i)] for i in rng.integers(len(words), size=4)]
    sentence = frame.format(*chosen)
    if not (avoid and holds(sentence, avoid)):
      found.append(sentence)
  return found


def alike(wake_word: str, count: int = 16) -> list[str]:
  """Phrases that sound like a wake word and are not it.

  Args:
    wake_word: such as "Hey Jarvis"; "" gives none.
    count: how many at most.

  Returns:
    The phrases: of every kind some, whatever the count.
  """
  words = content(wake_word).split()
  if not words:
    return []
  hail = normal(wake_word).removesuffix(" ".join(words)).strip()
  rng = np.random.default_rng([zlib.crc32(wake_word.encode()), 3])
  tails = [_TAILS[int(i)] for i in rng.permutation(len(_TAILS))]
  near = [w for word in words for w in neighbours(word, 6 // len(words) + 2)]
  kinds = [
    [f"{hail} {_swapped(words, w)}" for w in near],
    [
      f"{hail} {name} {tails[i % len(tails)]}"
      for i, name in enumerate(rng.permutation(_NAMES)[:4] if hail else [])
    ],
    [f"{hail} {' '.join(_changed(w, rng) for w in words)}" for _ in range(4)],
    [f"did you see the {w} {tails[0]}" for w in near[::2]],
    [f"my {w} {tails[1]}" for w in words if len(words) > 1],
  ]
  mixed = [
    normal(kind[place])
    for place in range(max(map(len, kinds)))
    for kind in kinds
    if place < len(kind)
  ]
  unlike = [p for p in dict.fromkeys(mixed) if not holds(p, wake_word)]
  return unlike[:count]


def neighbours(word: str, count: int) -> list[str]:
  """The words of the list that share most letters with one, nearest first."""
  folded = _folded(word)

  def score(other: str) -> float:
    return difflib.SequenceMatcher(None, folded, _folded(other)).ratio()

  others = [w for w in vocabulary() if not _sounds_like(_folded(w), folded)]
  ranked = sorted(others, key=lambda w: (-score(w), w))
  return ranked[:count]


def _sounds_like(other: str, word: str) -> bool:
  """Whether some voices say both alike, or one with the other inside.

  What some accents do not say, at the end, is left away: pepper is peppa.
  """
  stem = re.sub(r"[aeiour]+$", "", word) or word
  return len(other) >= len(word) and other.startswith(stem)


@functools.cache
def vocabulary() -> tuple[str, ...]:
  """Common English words, each once."""
  return tuple(dict.fromkeys(_VOCABULARY.split()))


def _swapped(words: list[str], word: str) -> str:
  """The words with the one that is most like another in its place."""
  scores = [
    difflib.SequenceMatcher(None, _folded(c), _folded(word)).ratio()
    for c in words
  ]
  at = int(np.argmax(scores))
  return " ".join([*words[:at], word, *words[at + 1 :]])


def _changed(word: str, rng: np.random.Generator) -> str:
  """A word that nobody says, with another beginning and another ending."""
  stem = re.sub(r"^[^aeiouy]+", "", word) or word
  onsets = [o for o in _ONSETS if not _folded(word).startswith(o)]
  stem = re.sub(r"(?<=[^aeiouy])[aeiouy]+[^aeiouy]*$", "", stem) or stem
  ending = _ENDINGS[int(rng.integers(len(_ENDINGS)))]
  joint = stem if not re.search(r"[aeiouy]$", stem) else stem + "l"
  return onsets[int(rng.integers(len(onsets)))] + joint + ending


def _folded(word: str) -> str:
  """A spelling nearer to the sound: one letter for what sounds alike."""
  for old, new in _FOLDS:
    word = word.replace(old, new)
  return re.sub(r"(.)\1", r"\1", word)
