"""Faults, each a function of an arena and a number of rounds that answers figures, and what judges them."""
