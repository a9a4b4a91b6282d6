"""The HTTP server: an own interface, those of LibreTranslate, DeepL and OpenAI, and a page, in front of one queue.

    request ──► app, guards (size, time, key) ──► own | libre | deepl | openai | explain ──► service ──► queue
                                                                                                ▲          │
                                                                         models ◄── workers ────┴──────────┘

Only `workers.py` runs a model, in threads; everything else is one event loop that never computes. Nothing in here
fetches an address for a client.
"""
