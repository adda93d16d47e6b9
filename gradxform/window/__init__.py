"""The window into the compiler: what became of a function, why, what it costs and where its time goes."""
