"""What work ran on and what it cost: environment, meters, threads."""
