"""The broker: clients, the subscription, and the live stream's first half."""
