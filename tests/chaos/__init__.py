"""The crash explorer: every call of every scenario fails once in every way, and the promises must hold all the same.

`python -m tests.chaos` runs it all, `--help` names the rest. One *point* is a scenario, the number of one of its
calls to AWS or to Replicate, and a fault there. A *history* is what follows from a point: the real functions on moto,
a played Replicate, a virtual clock, queues and a schedule that deliver again as AWS does. When nothing is left to do,
`invariants` judges what has come of it. Nothing is sampled, and no time is slept.
"""
