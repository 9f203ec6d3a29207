"""wlib: new neural networks out of trained ones, by four methods of four papers.

    from wlib import mge      # from one network, thousands, without training   (part I)
    from wlib import mda      # cut a CNN into task parts, join parts anew      (part II)
    from wlib import free     # learn to learn from networks without their data (part III)
    from wlib import d2nwg    # sample weights for a data set it is shown       (part IV)

Begin with `wlib.core.pool.Pool`, networks of one shape as stacked weights, and `wlib.data`, image
sets without a download. A method imports no other one, and of the rest only what lies below it:

    check, seeds, ground    errors, random numbers, files, the fingerprint of code
    store                   costly results, kept and found again
    core                    pools, small networks, training, scores, controls
    data                    image sets, episodes, families of tasks
    claims, plot, book      verdicts, figures, and what runs and builds the book
"""

__version__: str


def __getattr__(name: str) -> str:
    if name == "__version__":           # when asked for: nothing else here costs time
        from importlib import metadata
        return metadata.version("weights-as-data")
    raise AttributeError(f"module 'wlib' has no attribute {name!r}")
