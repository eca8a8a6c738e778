"""Made-up speech to train and test on."""
