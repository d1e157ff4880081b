"""One page of HTML that shows what an experiment has stored: what goes into it, how it is drawn, and its file."""
