"""What frozen networks trained on other data see in single frames."""
