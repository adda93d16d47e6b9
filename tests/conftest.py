"""Settings of the whole suite: the same examples in every run, a disk cache of its own, every emitted text verified."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

# Set before anything imports gradxform, and inherited by the processes that tests start: the user's own cache is
# neither read nor written. Workers of pytest-xdist each have their own inside the controlling process's, which removes
# them all, so that one worker's test that clears the cache does not disturb another's.
if "PYTEST_XDIST_WORKER" in os.environ:
    session = tempfile.mkdtemp(dir=os.environ["GRADXFORM_CACHE_DIR"])
else:
    session = tempfile.mkdtemp(prefix="gradxform-tests-")
    atexit.register(shutil.rmtree, session, ignore_errors=True)
os.environ["GRADXFORM_CACHE_DIR"] = session
os.environ["GRADXFORM_VERIFY"] = "1"
os.environ["MPLBACKEND"] = "Agg"

# Without a deadline, since the first call of a function compiles it; derandomised, so that everyone sees a failure.
settings.register_profile(
    "gradxform",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# More of them, and others every time: HYPOTHESIS_PROFILE=search python -m pytest
settings.register_profile("search", settings.get_profile("gradxform"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gradxform"))
