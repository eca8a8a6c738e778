"""Runs pytest on the test file that a Bazel target names."""

import os
import sys

import pytest

if __name__ == "__main__":
  options = ["-p", "no:cacheprovider"]  # Bazel keeps its own cache
  if "XML_OUTPUT_FILE" in os.environ:
    options.append(f"--junitxml={os.environ['XML_OUTPUT_FILE']}")
  sys.exit(pytest.main(options + sys.argv[1:]))
