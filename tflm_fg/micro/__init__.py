"""The trainer and a small network in C, for microcontrollers."""

from tflm_fg.micro.blob import make_blob
from tflm_fg.micro.c_source import c_array, network_source
from tflm_fg.micro.network import read_network
from tflm_fg.micro.phases import phase_blob
from tflm_fg.micro.pieces import DevicePieces, Piece, device_pieces
from tflm_fg.micro.saved import read_saved
from tflm_fg.micro.sizes import DeviceSizes, device_sizes, required_bytes
from tflm_fg.micro.sources import c_files
from tflm_fg.micro.table import Network

__all__ = [
  "DevicePieces",
  "DeviceSizes",
  "Network",
  "Piece",
  "c_array",
  "c_files",
  "device_pieces",
  "device_sizes",
  "make_blob",
  "network_source",
  "phase_blob",
  "read_network",
  "read_saved",
  "required_bytes",
]
