"""The mathematics that analyses share, without figures: for notebooks and other programs too."""
