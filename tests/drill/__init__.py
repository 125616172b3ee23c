"""A drill: `make drill` breaks what each alarm stands for, and sees its metric cross the threshold."""
