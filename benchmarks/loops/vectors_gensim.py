"""Skip-gram with negative sampling by gensim: vectors_gensim.py TEXT OUT THREADS SETTINGS; prints words a second"""

from __future__ import annotations

import json
import sys
import time

from gensim.models import Word2Vec


def main(text: str, out: str, threads: int, settings: dict[str, float]) -> None:
    """Learns from a file of words apart by spaces, gensim's fastest way in."""
    asked = {name: settings[name] for name in ("window", "negative", "sample", "min_count")}
    model = Word2Vec(vector_size=settings["size"], sg=1, hs=0, workers=threads, seed=1, **asked)
    model.build_vocab(corpus_file=text)
    began, words = time.perf_counter(), model.corpus_total_words
    model.train(corpus_file=text, total_examples=model.corpus_count, total_words=words, epochs=int(settings["epochs"]))
    print(words * settings["epochs"] / (time.perf_counter() - began))
    model.wv.save_word2vec_format(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
