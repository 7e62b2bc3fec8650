"""Mathematics shared by analyses, for use in notebooks and other programs too."""
