"""What is kept, and how big it is."""
