"""The subcommands of tflm-fg-fleet, a file each."""
