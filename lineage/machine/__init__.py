"""What work ran on and what it cost: environment, how to build it again, meters, threads."""
