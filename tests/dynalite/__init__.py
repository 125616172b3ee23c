"""The expressions before a second judge: dynalite knows other rules of DynamoDB than moto does, and is stricter."""
