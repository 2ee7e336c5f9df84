"""A round: its number, its own clone, its stages, its decision, and what is published of it."""
