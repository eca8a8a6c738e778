"""Run models that keep state from step to step, and reach their last layer."""

from tflm_fg.streaming.head import Head, changed_bytes
from tflm_fg.streaming.model import StreamModel
from tflm_fg.streaming.runner import Stepper
from tflm_fg.tflite.stream.states import StateTensor

__all__ = ["Head", "StateTensor", "Stepper", "StreamModel", "changed_bytes"]
