"""The loop IR: scalar expressions, loops over buffers, and the form in which primitives lower to them."""
