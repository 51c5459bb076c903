"""What both HTTP servers share, the API and Dagster's webserver: limits, and which site a request comes from."""
