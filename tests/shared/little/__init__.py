"""The smallest service: one table, doors for every kind of caller, doors that go wrong."""
