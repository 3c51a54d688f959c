"""Every process of a storm begins with this, where it is on the path: it plants the defect, if one is named, and the
failpoints.
"""

import os

if os.environ.get("WINDLASS_TEST_DEFECT"):
    from faults.harness.defects import VARIABLE, into_process

    into_process(os.environ[VARIABLE])

if os.environ.get("WINDLASS_TEST_FAILPOINTS"):
    from faults.harness import failpoints

    failpoints.into_process(os.environ[failpoints.VARIABLE])
