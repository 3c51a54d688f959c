"""What a job may be at most. The tables check the same; this says it sooner and in words."""

from typing import Final

# What a queue or a kind may be called.
NAME: Final = r"[A-Za-z0-9._:-]{1,128}"
MOST_ATTEMPTS: Final = 100
# Of one attempt: a week.
LONGEST_TIMEOUT: Final = 604_800
