"""What a device needs to run and train a model: one module a target."""
