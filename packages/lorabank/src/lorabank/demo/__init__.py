"""The main job on real data: past users fill a bank, new users start from what it learned."""
