"""Rules: which readings breach them, and which breaches become alerts."""
