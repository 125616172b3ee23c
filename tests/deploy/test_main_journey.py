"""The main journey of the local stack, on what `sam deploy` has deployed: the built code, layer and template."""

from tests.journey.test_main_job import *  # noqa: F403 - the same tests; fixtures give them this folder's stack
