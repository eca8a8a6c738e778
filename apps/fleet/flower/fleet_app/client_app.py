"""A node's side: it replays the steps that it is sent, and sends its sums."""

from __future__ import annotations

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from . import task

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
  """Answers one round's request.

  Args:
    message: with the steps that the node has not seen, and what is asked.
    context: of the node; its state keeps what it has replayed.
  """
  return _answered(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
  """Replays the last steps and tells the masters' fingerprint."""
  return _answered(message, context)


def _answered(message: Message, context: Context) -> Message:
  request = message.content.config_records[task.RECORD]
  answer = task.answer(dict(request), context)
  return Message(
    RecordDict({task.RECORD: ConfigRecord(answer)}), reply_to=message
  )
