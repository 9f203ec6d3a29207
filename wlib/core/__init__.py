"""What all methods share: a pool of networks, small nets, training, scores, controls.

`pool.Pool` holds networks as stacked weights; `audit` and `matching` are controls for all.
"""
