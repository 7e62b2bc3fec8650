"""One module for each figure and table of the paper (see `mechgrok.analyses.papers.item`)."""
