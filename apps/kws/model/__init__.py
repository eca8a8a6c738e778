"""The keyword spotter: trained, adapted, enrolled, scored."""
