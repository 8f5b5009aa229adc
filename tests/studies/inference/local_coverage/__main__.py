"""`python -m tests.studies.inference.local_coverage lennard-jones --csv table.csv`; fails if a bound does not hold."""

import sys

from tests.studies.inference.local_coverage import study
from tests.studies.wanted import BROKEN

study.main(sys.argv[1:])
if BROKEN:
    sys.exit("\n".join(["what was wanted and does not hold:", *BROKEN]))
