"""The core, package by package. This is its map, from the bottom up: each imports only from those above it in the list.

* ``system``: files, links, processes, threads and addresses of this machine, and what messages are made of.
* ``display``: what people see: amounts in words, HTML in which nothing runs, and previews of files.
* ``artifacts``: what an artifact is: its types, entries and rules, the builder, the manifest, and what a call returns.
* ``plugins``: what a plugin can be, how it is found, and how its code is called.
* ``lanes``: a backend in a process of its own, and how long a call may take.
* ``storage``: content-addressed blobs, and the base classes of backends that are bags of blobs.
* ``sealing``: from a builder to a sealed artifact: choose the backends, write objects and models as files, hash.
* ``delivery``: the outbox and its drafts, couriers, attempts and their backoff.
* ``capture``: from what a detector saw to a submitted artifact, once each; and what type a file is.
* ``reading``: find stored versions, fetch and verify their bytes, load objects and models.
* ``management``: change, count, check and compare what is stored.
* ``experiment``: experiments, their configuration, and the manager of their artifacts with what it owns.
* ``transfer``: copy what is stored to another backend, and import what was logged without Tracelet.
* ``reporting``: one page of HTML that shows what an experiment has stored.
* ``maintenance``: send what waits, delete what nobody needs, and say what is wrong.

:mod:`tracelet.exceptions` lies below all of them. :mod:`tracelet.settings` lies on ``system``, and below the others.
"""
