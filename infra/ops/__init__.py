"""The command line `afterimage`: for people who want images, and for operators of a deployment."""
