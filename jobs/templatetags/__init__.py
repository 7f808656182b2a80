"""Template tags for the pages of projects."""
