"""Energy from power or from counters: curves over time, and amounts by the quarter hour."""
