"""Extensions of the Sphinx build: generated pages and live figures."""
