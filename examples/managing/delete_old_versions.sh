#!/bin/sh
# Delete all but the two newest versions. What has a label or an alias, or is used by a version that stays, stays.
tracelet prune digits --name classifier --keep-last 2 --dry-run
tracelet prune digits --name classifier --keep-last 2 --yes
