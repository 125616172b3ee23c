"""The modules of `shared`, one by one."""
