"""What the tests are built on: the template in moto, a played Replicate, and builders of events."""
