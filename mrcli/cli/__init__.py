"""The command line: parse, call a task, render."""
