"""What any HTTP API needs: errors, pages, ETags, formats, limits, metrics, the description. No domain word."""
