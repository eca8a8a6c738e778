"""Choose what trains, and run the phases that train it."""
