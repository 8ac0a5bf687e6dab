"""Durable backend of lorabank: SQLite is the truth, FAISS the derived index."""
