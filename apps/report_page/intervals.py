"""How sure a share is that was counted on few samples."""

from __future__ import annotations

import math
import statistics

CONFIDENCE = 0.95
"""How often an interval holds the true share."""


def wilson(share: float, samples: int) -> tuple[float, float]:
  """The interval of a share, by Wilson's score.

  It stays within 0 and 1 and holds for few samples, unlike the normal one.

  Args:
    share: of right answers, 0 to 1.
    samples: how many were scored; 1 or more.

  Returns:
    Its two ends, 0 to 1.

  Source:
    E. B. Wilson, Probable inference, the law of succession, and statistical
    inference, Journal of the American Statistical Association 22, 1927.
  """
  z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
  weight = z * z / samples
  centre = (share + weight / 2) / (1 + weight)
  spread = math.sqrt(share * (1 - share) * weight + weight * weight / 4)
  half = spread / (1 + weight)
  return max(0.0, centre - half), min(1.0, centre + half)
