"""Russian SuperGLUE 1.1: nine tasks of understanding, their metrics and baselines, predictions and submissions.

`suite` measures several systems; `tasks` are the tasks as literals, `readers` reads official files, `metrics` gives the
official metrics, `predictions` is the format in which every model's answers are kept. Fine-tuning is another room.
"""
