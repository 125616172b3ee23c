"""A deployment on AWS, from nothing to a first answer, and its end: `make deploy` and `make destroy`."""
