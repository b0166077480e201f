"""Wrong requests, generated from the models that AWS publishes, and what AWS answers to them.

`published` reads the models, `answers` says what is wrong with a request and in which words, `members` and `mutations`
make requests wrong: none of them knows anything of the product. `requests` has a right request of each operation that
is built, `client` signs and sends, `campaign` compares. bin/fuzz runs it with any count and seed, test_fuzz.py with a
small one.
"""
