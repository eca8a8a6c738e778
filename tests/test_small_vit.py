"""The small vision transformer of tools/small_vit.py refuses odd sizes.

What it trains takes a minute, and is in docs/results.md; every placement on
attention has its tests in tests/tflite/surgery/test_attention.py.
"""

from tests.refusals import refused
from tools import small_vit


def test_pictures_that_patches_do_not_divide_are_refused():
  refused(lambda: small_vit.network((30, 28, 1), 48, 10), "30 x 28", "of 7")


def test_channels_that_heads_do_not_divide_are_refused():
  refused(lambda: small_vit.network((28, 28, 1), 50, 10), "=50", "of 4")
