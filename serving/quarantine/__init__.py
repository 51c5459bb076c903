"""What intake refused."""
