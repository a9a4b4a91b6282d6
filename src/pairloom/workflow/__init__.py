"""Where training, generation and the folder meet: from files of pairs to a model that answers."""
