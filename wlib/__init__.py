"""wlib: new neural networks made out of trained ones. Import the modules: `from wlib import mge`."""
