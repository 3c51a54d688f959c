"""What tests share: a server, databases, waiting, programs, processes."""
