"""The functions, called by built events, on the tables and queues of the template."""
