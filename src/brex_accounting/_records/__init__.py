"""Records: queries, paging, parsing and reporting."""
