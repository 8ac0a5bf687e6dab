"""Benchmarks of the faiss backend: ``python -m lorabank_bench.faiss_backend.choice`` (which index)
and ``python -m lorabank_bench.faiss_backend.store`` (the store itself)."""
