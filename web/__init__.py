"""What both HTTP servers share, the API and Dagster's webserver: limits of connections and of requests."""
