#!/bin/sh
# How big is my store, and which names fill it?
tracelet du digits
