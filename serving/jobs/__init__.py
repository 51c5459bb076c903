"""Jobs of any kind: how they are submitted, launched and cancelled."""
