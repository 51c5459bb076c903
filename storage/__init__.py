"""Where everything is kept: settings, tables, the telemetry store, the object store."""
