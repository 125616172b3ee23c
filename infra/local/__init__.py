"""The local stack: the real template on an AWS emulator, with a simulator in Replicate's place."""
