"""Train a classifier of texts with spaCy, and save it after each epoch."""

import spacy
from spacy.training import Example

spacy.util.fix_random_seed(0)
nlp = spacy.blank("en")
nlp.add_pipe("textcat").add_label("good")
nlp.get_pipe("textcat").add_label("bad")
texts = {"it is fine": {"good": 1.0, "bad": 0.0}, "it is not": {"good": 0.0, "bad": 1.0}}
examples = [Example.from_dict(nlp.make_doc(text), {"cats": cats}) for text, cats in texts.items()]
optimizer = nlp.initialize(lambda: examples)
losses = []
for _ in range(2):
    losses.append(float(nlp.update(examples, sgd=optimizer)["textcat"]))
    nlp.to_disk("out/reviews")
