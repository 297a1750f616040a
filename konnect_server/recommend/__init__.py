"""Who would say yes to whom, and be answered with yes: learned from answers, by numpy, scipy and scikit-learn.

The one room that imports those three. It knows no SQL, no socket and no clock; the running server never imports it:
what is learned here goes into the database as plain numbers, and plain Python scores a page with them.
"""
