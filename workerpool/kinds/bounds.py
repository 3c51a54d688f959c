"""What a job may be at most. The tables check the same; this says it sooner and in words."""

from typing import Final

# What a queue or a kind may be called. A dot or two alone mean a place in every address: no path could carry them.
NAME: Final = r"(?!\.\.?$)[A-Za-z0-9._:-]{1,128}"
NAME_RULE: Final = "1 to 128 of the characters A-Z a-z 0-9 . _ : - and neither . nor .. alone"
MOST_ATTEMPTS: Final = 100
# Of one attempt: a week.
LONGEST_TIMEOUT: Final = 604_800
