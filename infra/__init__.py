"""What surrounds the product: the local stack, the operator's commands, measurements."""
