"""The methods of training, one frozen dataclass each.

`Auto` is the default. `ClosedForm`, `PerSample` and `SignSPSA` are what it
runs; the others have been measured not to help (docs/results.md) and are here
because the paper, or related work, has them.
"""

from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.method import (
  Method,
  fields_of,
  named,
  register,
  registered,
)
from tflm_fg.gradients.multi_tangent import MultiTangent
from tflm_fg.gradients.node_perturbation import NodePerturbation
from tflm_fg.gradients.one_sided import OneSided
from tflm_fg.gradients.per_sample import PerSample
from tflm_fg.gradients.sharpness_aware import SharpnessAware
from tflm_fg.gradients.spsa import SPSA, DirectionalMethod, SignSPSA
from tflm_fg.gradients.statistic_matching import StatisticMatching
from tflm_fg.training.auto import Auto

__all__ = [
  "SPSA",
  "Auto",
  "ClosedForm",
  "DirectionalMethod",
  "Method",
  "MultiTangent",
  "NodePerturbation",
  "OneSided",
  "PerSample",
  "SharpnessAware",
  "SignSPSA",
  "StatisticMatching",
  "fields_of",
  "named",
  "register",
  "registered",
]
