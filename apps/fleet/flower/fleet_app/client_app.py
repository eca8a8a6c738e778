"""A node's side: it replays the steps that it is sent, and sends its sums."""

from __future__ import annotations

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from . import task

DROPPED = 1
"""The code of an answer that a node keeps back on purpose."""

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
  """Answers what the server asks.

  Args:
    message: with the steps that the node has not seen, and what is asked.
    context: of the node; its state keeps the plan and the steps that it took,
      from which it makes the masters again.
  """
  request = message.content.config_records[task.RECORD]
  answer = task.answer(dict(request), context)
  if answer is None:
    return Message(Error(DROPPED, "dropped this round"), reply_to=message)
  return Message(
    RecordDict({task.RECORD: ConfigRecord(answer)}), reply_to=message
  )
