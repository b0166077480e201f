"""docs/coverage.md, made from what is there: bin/coverage.

`published` has what AWS has published of each operation, `wire_calls` what servers of tests were really asked, by their
audit records, `unconfirmed` what comments say of AWS that nobody has confirmed, `page` puts them together with the
hand-written parts in docs/coverage.
"""
