"""encodechka: ten tasks and speed for Russian sentence encoders, in the published and in a mended protocol.

`suite` measures several encoders, `run` one, `comparison` gives paired differences; `tasks` are the tasks and other
people's rows. Needs scikit-learn, scipy and razdel (the extra `evaluate`); no torch.
"""
