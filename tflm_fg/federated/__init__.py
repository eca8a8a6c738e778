"""Learn together: a fleet of devices that share masters and no sample.

A forward gradient is a seed and a few integers, and an exact head is a sum of
integers. So clients send sums, the server adds them up and makes one step of
the journal of them, and everyone replays it: phones, boards and the server
hold the same masters, bit for bit. Nothing here knows how bytes travel.

`plan_for` makes a plan, `Client.contribute` the sums of a round,
`Federation.accept` takes or refuses them, `Federation.close` makes the step,
and `take` of either takes it. Without a server that runs, `contribute`,
`combine` and `apply` do the same by files.
"""

from tflm_fg.federated.client import Client, Sent, contribute
from tflm_fg.federated.combining import combine
from tflm_fg.federated.fields import Field
from tflm_fg.federated.keys import checked_key
from tflm_fg.federated.masking import Masks, Unmasking
from tflm_fg.federated.personal import personal_prompt
from tflm_fg.federated.plan import SCHEMES, Plan
from tflm_fg.federated.planning import plan_for
from tflm_fg.federated.privacy import Privacy, epsilon_of, multiplier_for
from tflm_fg.federated.recording import journal_of
from tflm_fg.federated.replica import Replica
from tflm_fg.federated.schemes.scheme import Share
from tflm_fg.federated.server import (
  Federation,
  Round,
  Verdict,
  apply,
  closed,
)
from tflm_fg.federated.wire import checked_name

__all__ = [
  "SCHEMES",
  "Client",
  "Federation",
  "Field",
  "Masks",
  "Plan",
  "Privacy",
  "Replica",
  "Round",
  "Sent",
  "Share",
  "Unmasking",
  "Verdict",
  "apply",
  "checked_key",
  "checked_name",
  "closed",
  "combine",
  "contribute",
  "epsilon_of",
  "journal_of",
  "multiplier_for",
  "personal_prompt",
  "plan_for",
]
