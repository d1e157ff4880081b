"""From what a detector saw to a submitted artifact, once each; and what type a file is."""
