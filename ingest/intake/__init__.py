"""From a message to what is kept: decode, store, quarantine, acknowledge."""
