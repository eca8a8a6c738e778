"""Lead Flower's nodes through rounds in which all replay one journal.

Flower's own strategies send the model down and take arrays up. Here the model
does not travel: every node has it, and makes the trained numbers itself from
the steps that it is sent. So this is a loop over the grid, as Flower has it for
a ServerApp with a main function of its own.
"""

from __future__ import annotations

import time
from collections.abc import Generator

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from apps.fleet.messages import Record, Records
from tflm_fg.types import TflmFgError

RECORD = "fleet"
"""The record of every message, down and up."""

PULL_SECONDS = 0.2
"""From one look for replies to the next."""


def wait_for_nodes(grid: Grid, count: int, timeout: float) -> list[int]:
  """The nodes that are there, once there are enough.

  Args:
    grid: the nodes.
    count: how many are needed.
    timeout: seconds to wait for them.

  Raises:
    TflmFgError: if fewer came.
  """
  until = time.monotonic() + timeout
  while len(found := sorted(grid.get_node_ids())) < count:
    if time.monotonic() > until:
      raise TflmFgError(
        f"{len(found)} of {count} nodes are there after {timeout:g} s; start "
        "more SuperNodes, or take fewer with --nodes"
      )
    time.sleep(PULL_SECONDS)
  return found


def lead(
  grid: Grid, rounds: Generator[Records, Records, None], timeout: float
) -> None:
  """Sends what a server asks, and gives it what the nodes answer.

  Args:
    grid: the nodes.
    rounds: yields what each node is sent, and is sent what came back in time.
      A node that failed or was late is not in it.
    timeout: seconds that one exchange waits for replies.
  """
  number, requests = 0, next(rounds, None)
  while requests is not None:
    number += 1
    answers = exchange(grid, requests, number, timeout)
    try:
      requests = rounds.send(answers)
    except StopIteration:
      return


def exchange(
  grid: Grid, requests: Records, number: int, timeout: float
) -> dict[int, Record]:
  """One message a node and its reply, for those who reply in time.

  Args:
    grid: the nodes.
    requests: what each node is sent.
    number: of the exchange, by which Flower's logs group it.
    timeout: seconds to wait for replies.
  """
  messages = [
    Message(
      RecordDict({RECORD: ConfigRecord(record)}),
      dst_node_id=node,
      message_type=MessageType.TRAIN,
      group_id=str(number),
      ttl=timeout,
    )
    for node, record in requests.items()
  ]
  waiting = set(grid.push_messages(messages))
  answers: dict[int, Record] = {}
  until = time.monotonic() + timeout
  while waiting and time.monotonic() < until:
    for reply in grid.pull_messages(waiting):
      waiting.discard(reply.metadata.reply_to_message_id)
      if not reply.has_error():
        record = reply.content.config_records.get(RECORD)
        if record is not None:  # else another app has answered
          answers[reply.metadata.src_node_id] = dict(record)
    if waiting:
      time.sleep(PULL_SECONDS)
  return answers
