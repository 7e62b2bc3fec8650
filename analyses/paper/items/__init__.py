"""A module for each figure and table of the paper; `analyses.paper.item` says what it has."""
