"""The folder of the Flower app; its own package is `fleet_app`."""
