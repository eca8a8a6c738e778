"""The data sets that methods are compared on."""
