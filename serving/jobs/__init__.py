"""Jobs: how they are asked for, launched and cancelled."""
