"""Who may ask: digest authentication."""
