#!/bin/sh
# What changed from v3 to v4? Files, metadata and all else, without a download.
tracelet diff digits rows@v3 rows@v4
