"""Tests of the keyword spotter."""
