#!/bin/sh
# Who used this data set? What it was made from is above it, what was made from it below.
tracelet lineage digits rows@v3
