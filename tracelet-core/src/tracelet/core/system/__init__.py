"""Files, links, processes, threads and addresses of this machine, and what messages are made of."""
