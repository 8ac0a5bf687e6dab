"""Pure numerics: arrays in, arrays out, explicit generators, no I/O, no logging.

Every function works in the dtype of its inputs, so that the proofs can run in float64.
"""
