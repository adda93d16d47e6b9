"""SciPy's functions, traceable."""
