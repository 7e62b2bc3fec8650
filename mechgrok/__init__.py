"""Train networks that grok, keep every checkpoint, and ask the sequence questions."""
