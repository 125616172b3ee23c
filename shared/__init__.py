"""What all functions share: the job, its store, the gateway to Replicate and the layer around each endpoint."""
