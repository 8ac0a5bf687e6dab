"""One update as a pure function; everything around it is scheduling.

`step.adapt` takes an adapter, a prepared batch and a decision on hyperparameters, and gives a new
adapter, the numbers for the report, and the episode that this batch has finished.
"""
