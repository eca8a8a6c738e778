"""The trainer and a small network in C, for microcontrollers."""

from tflm_fg.micro.blob import make_blob
from tflm_fg.micro.c_source import c_array, network_source
from tflm_fg.micro.network import read_network
from tflm_fg.micro.table import Network

__all__ = ["Network", "c_array", "make_blob", "network_source", "read_network"]
