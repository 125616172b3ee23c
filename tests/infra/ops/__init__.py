"""Tests of the command line, in process, on the template deployed in moto."""
