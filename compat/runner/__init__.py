"""What compat/run and compat/suites share: brokers to test, what is installed for it, and reports."""
