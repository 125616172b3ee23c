"""What operators do: secrets, tenants and API keys."""
