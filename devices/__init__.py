"""What a machine is: its errors, its hardware, what is wrong with it. Standard library only."""
