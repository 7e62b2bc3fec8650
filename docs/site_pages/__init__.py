"""What the documentation is made with, besides Sphinx: generated pages, and live figures."""
