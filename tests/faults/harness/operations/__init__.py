"""Everything that is said to the database, as operations that can be cut; what they are is said in `points`."""

from faults.harness.operations import enqueues, holders, operators, pool, schema, steward
from faults.harness.points import Operation

OPERATIONS: dict[str, Operation] = {
    name: operation
    for module in (enqueues, holders, pool, steward, operators, schema)
    for name, operation in module.OPERATIONS.items()
}
