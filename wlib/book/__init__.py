"""The machinery of the book: runs notebooks, builds pages, holds claims against results."""
