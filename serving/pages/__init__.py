"""The web pages: one module a page. They show what the API answers, and have no SQL and no rule of their own."""
