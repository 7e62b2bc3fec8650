"""A module for each figure and table of the paper; `mechgrok.analyses.papers.item` says what it has."""
