#!/bin/sh
# Which version was best? The one with the highest accuracy in its metadata.
tracelet ls digits --name classifier --where 'metrics.accuracy > 0.8' --sort -metrics.accuracy --limit 1
