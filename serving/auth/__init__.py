"""Who asks, what they may do, and which tenant's rows they see."""
