"""Functions of other libraries that save, seen from within: what the detectors of such saves share.

* :mod:`.destinations`: where a save goes, and what of it can be kept when the save returns
* :mod:`.what`: what a save is
* :mod:`.naming`: what a checkpoint that is a folder is named by
* :mod:`.watching`: who listens to which function
* :mod:`.trackers`: temporary folders of trackers, where nothing is captured
* :mod:`.save`: one function that saves
* :mod:`.detector`: emits what such functions saved
"""
