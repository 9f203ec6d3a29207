"""wlib: new neural networks out of trained ones. Import the modules: `from wlib import mge`."""
