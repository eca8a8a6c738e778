"""A Flower app in which the server and the nodes replay one journal."""
