#!/bin/sh
# Which experiments are there?
tracelet experiments
