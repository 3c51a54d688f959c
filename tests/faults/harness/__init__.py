"""What shows that nothing is lost: a ledger outside the database, effects outside it too, an event table inside, faults
from a seed, and a checker that holds the four against each other. `storm.storm` runs it all.
"""
