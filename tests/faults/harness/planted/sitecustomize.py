"""Every process of a storm begins with this, where it is on the path: it plants the defect, if one is named."""

import os

if os.environ.get("WINDLASS_TEST_DEFECT"):
    from faults.harness.defects import VARIABLE, into_process

    into_process(os.environ[VARIABLE])
