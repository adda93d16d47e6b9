"""Measurements of gradxform against its peers, side by side in one run; `python -m bench` starts them."""
