"""All that is known of a run on one page: what the other commands find, one section each."""
