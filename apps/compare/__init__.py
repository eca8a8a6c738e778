"""Methods of training compared, over models, data and seeds."""
